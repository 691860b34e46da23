"""How far a batch has come, how fast it gets on, and how often that is told."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgsvc.jobs.items import Progress
from imgsvc.jobs.models import EventType
from imgsvc.jobs.story import Story

SPACING = 0.25
"""Seconds between two events: with the one at the end there are at most five in any second."""

WINDOW = 60.0
"""Seconds that the rate looks back."""

MAX_ENDS = 1000
"""Images that the rate looks back."""


class RateMeter:
    """How many images end in a second, by those that have ended lately in this run.

    Images in work together end together. So it says nothing before as many have ended:
    the first one alone would count for too little.
    """

    def __init__(self, concurrency: int) -> None:
        self._clock = asyncio.get_running_loop().time
        # The end before the first one that counts, or the start; then those that count.
        self._ends = deque([self._clock()], maxlen=MAX_ENDS + 1)
        self._still_to_end = concurrency
        self.rate: float | None = None  # images a second, as of the newest end

    def count(self) -> float | None:
        """Take note of an image that ends now, and return the rate."""
        now = self._clock()
        self._ends.append(now)
        while len(self._ends) > 2 and self._ends[1] <= now - WINDOW:
            self._ends.popleft()
        self._still_to_end -= 1
        seconds = now - self._ends[0]
        if self._still_to_end <= 0 and seconds > 0:
            self.rate = round((len(self._ends) - 1) / seconds, 3)
        return self.rate


@dataclass(kw_only=True, slots=True)
class ProgressTeller:
    """Tells the story of a batch how far it is: at once if it was quiet, else a little later."""

    story: Story
    newest: Progress  # at the start what is known already
    news: asyncio.Event = field(default_factory=asyncio.Event)  # set by each image that ends
    _image: Mapping[str, str] = field(default_factory=dict)  # the one that has ended last
    _told: Progress = field(init=False)
    _may_tell_at: float = field(default=0.0, init=False)  # by the clock of the event loop
    _later: asyncio.TimerHandle | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._told = self.newest

    def image_ended(self, key: str, state: str, progress: Progress) -> None:
        """Tell now or soon that an image has ended, unless another one does until then."""
        self.newest, self._image = progress, {"key": key, "state": state}
        self.news.set()
        if self._later is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._may_tell_at:
            self._tell()
        else:
            self._later = loop.call_at(self._may_tell_at, self._tell)

    def is_over(self, counters: Mapping[str, int]) -> None:
        """Take note of the counters of the callback."""
        total = counters["total_files"]
        self.newest = Progress(
            done=total,
            failed=counters["failed"],
            total=total,
            total_is_final=True,
            rate=self.newest.rate,
        )

    def close(self) -> None:
        """Tell what has not been told."""
        if self._later is not None or self.newest != self._told:
            self._tell()

    def _tell(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._may_tell_at = asyncio.get_running_loop().time() + SPACING
        self._told = self.newest
        self.story.tell(EventType.ITEM_DONE, **self._image, **self.newest.shown)
