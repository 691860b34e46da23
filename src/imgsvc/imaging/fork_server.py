"""Imported by the process that image processes are forked from, and by nothing else.

They find everything imported then, so that each is there at once, and share its memory.
The process itself runs no task and sees no picture.
"""

import signal

from imgsvc.imaging import child

# A service manager may send them to all processes of a service; the server decides.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
child.die_with_parent()
