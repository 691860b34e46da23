"""When progress is posted, and what is said of posts that fail."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from structlog.testing import capture_logs

from imgsvc.callbacks import Post, PostOutcome, ProgressSender
from imgsvc.jobs.items import Progress
from imgsvc.jobs.models import EventType, Job
from imgsvc.jobs.progress import ProgressTeller
from imgsvc.jobs.progress_posts import ProgressPosts
from imgsvc.jobs.story import Story
from jobs.parts import JOB_ID, batch_spec, make_job
from providers.virtual_time import now, run

URL = "http://127.0.0.1:9/progress?token=secret"
DELIVERED = Post(outcome=PostOutcome.DELIVERED, host="127.0.0.1", status=200)
FAILED = Post(outcome=PostOutcome.FAILED, host="127.0.0.1", status=503, error="status 503")
REFUSED = Post(outcome=PostOutcome.REFUSED, host="127.0.0.1", status=410, error="status 410")

JOB = make_job(batch_spec(), progress_url=URL)


class Untold:
    def tell(self, kind: EventType, **_: object) -> None:
        assert kind is EventType.ITEM_DONE


@dataclass(slots=True)
class Scripted:
    """Stands for the sender: takes its time, and answers as it is told to."""

    seconds: float = 0.0  # that each post takes
    answers: deque[Post] = field(default_factory=deque)  # the last one stays
    posts: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def post(self, url: str, request_id: str, body: bytes) -> Post:
        assert (url, request_id) == (URL, "req-7")
        self.posts.append((now(), json.loads(body)))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        if len(self.answers) > 1:
            return self.answers.popleft()
        return self.answers[0] if self.answers else DELIVERED

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.posts]

    @property
    def done(self) -> list[int]:
        return [body["done"] for _, body in self.posts]


def make_posts(sender: Scripted) -> ProgressPosts:
    return ProgressPosts(sender=cast("ProgressSender", sender), interval=10)


async def batch(posts: ProgressPosts, seconds: int, *, job: Job = JOB, until: int = 10_000) -> None:
    """Run for so long, and end an image in the middle of each second until then."""
    teller = ProgressTeller(story=cast("Story", Untold()), newest=Progress(total=1000))
    async with posts.of(job, teller):
        await asyncio.sleep(0.5)
        for number in range(1, seconds + 1):
            if number <= until:
                progress = Progress(done=number, total=1000, total_is_final=True, rate=1)
                teller.image_ended("a.png", "processed", progress)
            await asyncio.sleep(1)
    teller.close()


def sent(sender: Scripted, work: Callable[[ProgressPosts], Coroutine[Any, Any, None]]) -> Scripted:
    async def make_and_run() -> None:
        await work(make_posts(sender))

    run(make_and_run())
    return sender


def test_the_newest_numbers_are_posted_at_most_every_so_many_seconds() -> None:
    sender = sent(Scripted(), lambda posts: batch(posts, 35))
    assert sender.times == [10, 20, 30]
    assert sender.done == [10, 20, 30]
    assert sender.posts[0][1] == {
        "event": "progress",
        "job_id": JOB_ID,
        "status": "running",
        "done": 10,
        "failed": 0,
        "total": 1000,
        "total_is_final": True,
        "rate": 1,
        "seconds_left": 990,
    }


def test_nothing_is_posted_while_there_is_nothing_new() -> None:
    sender = sent(Scripted(), lambda posts: batch(posts, 60, until=15))
    assert sender.done == [10, 15]


def test_a_receiver_that_is_slow_gets_one_post_at_a_time_and_holds_up_nothing() -> None:
    sender = sent(Scripted(seconds=25), lambda posts: batch(posts, 65))
    assert (sender.times, sender.done) == ([10, 35, 60], [10, 35, 60])
    assert sender.most_in_flight == 1
    assert sender.in_flight == 0  # the last one was cut off when the batch was over


def test_the_posts_of_all_batches_share_some_places_and_keep_their_distance() -> None:
    sender = Scripted(seconds=4)

    async def two(posts: ProgressPosts) -> None:
        posts = ProgressPosts(sender=posts.sender, interval=10, places=asyncio.Semaphore(1))
        await asyncio.gather(batch(posts, 40), batch(posts, 40))

    sent(sender, two)
    assert sender.most_in_flight == 1
    assert sender.times == [10, 14, 20, 24, 30, 34, 40]
    assert sender.done == [10, 14, 20, 24, 30, 34, 40]


def test_a_batch_without_a_url_posts_nothing() -> None:
    job = make_job(batch_spec())
    assert sent(Scripted(), lambda posts: batch(posts, 35, job=job)).posts == []


def test_a_receiver_that_wants_no_more_gets_no_more() -> None:
    sender = Scripted(answers=deque([DELIVERED, REFUSED]))
    with capture_logs() as logs:
        sent(sender, lambda posts: batch(posts, 60))
    assert sender.times == [10, 20]
    assert [(line["event"], line["outcome"]) for line in logs] == [
        ("progress_post_failed", "refused")
    ]


def test_that_posts_fail_is_logged_once_and_that_they_work_again_too() -> None:
    script = [FAILED, FAILED, FAILED, DELIVERED, DELIVERED, FAILED, DELIVERED]
    with capture_logs() as logs:
        sender = sent(Scripted(answers=deque(script)), lambda posts: batch(posts, 75))
    assert len(sender.posts) == len(script)
    assert [line["event"] for line in logs] == ["progress_post_failed", "progress_post_works"] * 2
    assert (logs[0]["status"], logs[0]["error"]) == (503, "status 503")
    assert "secret" not in str(logs)


def test_the_url_is_not_shown_with_its_job() -> None:
    assert "secret" not in repr(JOB)
