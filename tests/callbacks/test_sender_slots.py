import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from aiohttp import web

from imgsvc.callbacks import CallbacksConfig, CallbackSender, Delivery, Verdict
from standins.receiver import Receiver, callback_receiver, drip_body, hang

MakeDelivery = Callable[..., Delivery]


async def test_waiting_for_a_slot_does_not_count_against_the_deadline(
    receiver: Receiver, session: aiohttp.ClientSession, delivery: MakeDelivery
) -> None:
    receiver.answer_with(hang, hang)
    sender = CallbackSender(session, CallbacksConfig(timeout=0.3, concurrency=1))
    attempts = await asyncio.gather(*(sender.attempt(delivery(receiver.url)) for _ in range(3)))
    assert [attempt.error for attempt in attempts] == ["timeout", "timeout", None]


async def test_no_more_callbacks_are_on_their_way_than_configured(
    receiver: Receiver, session: aiohttp.ClientSession, delivery: MakeDelivery
) -> None:
    gate = asyncio.Event()
    running: list[int] = [0]

    async def hold(_request: web.Request) -> web.Response:
        running.append(running[-1] + 1)
        await gate.wait()
        running.append(running[-1] - 1)
        return web.Response()

    receiver.answer_with(*[hold] * 5)
    sender = CallbackSender(session, CallbacksConfig(concurrency=2))
    sent = delivery(receiver.url)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(sender.attempt(sent))
        await receiver.next()
        await receiver.next()
        gate.set()
    assert max(running) == 2
    assert len(receiver.received) == 5


async def test_receivers_that_hang_do_not_use_up_the_connections(
    receiver: Receiver, session: aiohttp.ClientSession, delivery: MakeDelivery
) -> None:
    receiver.answer_with(*[hang] * 120)
    sender = CallbackSender(session, CallbacksConfig(concurrency=200))
    sent = delivery(receiver.url)
    hanging = [asyncio.create_task(sender.attempt(sent)) for _ in range(120)]
    for _ in hanging:
        await receiver.next()
    assert (await sender.attempt(sent)).verdict is Verdict.DELIVERED
    for task in hanging:
        task.cancel()
    await asyncio.wait(hanging)


async def test_cancelling_an_attempt_gives_its_slot_back(
    receiver: Receiver, session: aiohttp.ClientSession, delivery: MakeDelivery
) -> None:
    receiver.answer_with(hang)
    sender = CallbackSender(session, CallbacksConfig(concurrency=1))
    task = asyncio.create_task(sender.attempt(delivery(receiver.url)))
    await receiver.next()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await sender.attempt(delivery(receiver.url))).verdict is Verdict.DELIVERED


async def test_a_receiver_that_drips_its_answer_does_not_keep_its_slot(
    session: aiohttp.ClientSession, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.callbacks.sender._ANSWER_SECONDS", 0.1)
    sender = CallbackSender(session, CallbacksConfig(timeout=3600, concurrency=1))
    async with callback_receiver() as dripping, callback_receiver() as prompt:
        dripping.answer_with(drip_body)
        first = asyncio.create_task(sender.attempt(delivery(dripping.url)))
        await dripping.next()
        second = await sender.attempt(delivery(prompt.url))
        assert second.verdict is Verdict.DELIVERED
        attempt = await first
    assert (attempt.verdict, attempt.status) == (Verdict.DELIVERED, 200)
    assert set(attempt.answer) == {"."}  # as far as it came
