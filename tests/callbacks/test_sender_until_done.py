from collections.abc import Callable
from typing import Any

from structlog.testing import capture_logs

from imgsvc.callbacks import (
    CallbacksConfig,
    CallbackSender,
    Delivery,
    EgressPolicy,
    Verdict,
    deliver_until_done,
    open_session,
)
from standins.receiver import Receiver, drop, reply

MakeDelivery = Callable[..., Delivery]


class Waits:
    """Takes the place of sleeping, and remembers for how long it was asked."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def deliver(sender: CallbackSender, sent: Delivery, waits: Waits, **options: Any) -> Verdict:
    options.setdefault("schedule", [0, 1, 5, 30])
    return await deliver_until_done(sender, sent, sleep=waits, random=lambda: 0.5, **options)


async def test_a_failed_callback_comes_again_with_the_same_body_and_id(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(reply(500), drop, reply(200))
    waits = Waits()
    verdict = await deliver(sender, delivery(receiver.url), waits)
    assert verdict is Verdict.DELIVERED
    assert waits.seconds == [0, 1, 5]
    assert len(receiver.received) == 3
    assert len({(got.body, got.headers["webhook-id"]) for got in receiver.received}) == 1


async def test_410_ends_it(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(reply(410))
    assert await deliver(sender, delivery(receiver.url), Waits()) is Verdict.DEAD
    assert len(receiver.received) == 1


async def test_the_end_of_the_schedule_ends_it(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(*[reply(500)] * 5)
    waits = Waits()
    assert await deliver(sender, delivery(receiver.url), waits) is Verdict.DEAD
    assert waits.seconds == [0, 1, 5, 30]
    assert len(receiver.received) == 4


async def test_retry_after_makes_the_next_wait_longer(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(
        reply(429, {"Retry-After": "1.5"}),
        reply(429, {"Retry-After": "7"}),
        reply(503, {"Retry-After": "3600"}),
    )
    waits = Waits()
    assert await deliver(sender, delivery(receiver.url), waits) is Verdict.DELIVERED
    assert waits.seconds == [0, 1, 7, 60]


async def test_a_delivery_goes_on_from_its_number(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(*[reply(500)] * 5)
    waits = Waits()
    assert await deliver(sender, delivery(receiver.url, number=3), waits) is Verdict.DEAD
    assert waits.seconds == [5, 30]


async def test_the_log_tells_each_attempt_and_the_end_without_the_path(
    receiver: Receiver, sender: CallbackSender, delivery: MakeDelivery
) -> None:
    receiver.answer_with(reply(500), reply(200))
    with capture_logs() as logs:
        await deliver(sender, delivery(receiver.url + "?token=hush"), Waits())
    assert [(entry["event"], entry.get("number"), entry.get("error")) for entry in logs] == [
        ("callback_attempt", 1, "status 500"),
        ("callback_attempt", 2, None),
        ("callback_delivered", None, None),
    ]
    assert {entry["host"] for entry in logs} == {"127.0.0.1"}
    assert {entry["webhook_id"] for entry in logs} == {"msg_42"}
    assert "hush" not in str(logs)


async def test_a_dead_callback_is_a_warning_that_says_why(delivery: MakeDelivery) -> None:
    async with open_session(EgressPolicy()) as session:
        sender = CallbackSender(session, CallbacksConfig())
        with capture_logs() as logs:
            await deliver(sender, delivery("http://10.0.0.1/"), Waits())
    assert logs[-1] == {
        "event": "callback_dead",
        "log_level": "warning",
        "webhook_id": "msg_42",
        "host": "10.0.0.1",
        "attempts": 1,
        "error": "forbidden address",
    }
