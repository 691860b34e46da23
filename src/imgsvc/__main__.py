"""Runs the service: `python -m imgsvc`.

Image processes import this module anew under another name; hence the guard.
"""

if __name__ == "__main__":
    from imgsvc.cli import main

    main()
