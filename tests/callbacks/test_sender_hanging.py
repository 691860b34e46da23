import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from imgsvc.callbacks import CallbacksConfig, CallbackSender, Delivery, Verdict
from standins.receiver import Receiver, callback_receiver, drip_body, hang

MakeDelivery = Callable[..., Delivery]


async def test_receivers_that_hang_do_not_use_up_the_connections(
    receiver: Receiver, session: aiohttp.ClientSession, delivery: MakeDelivery
) -> None:
    receiver.answer_with(*[hang] * 120)
    sender = CallbackSender(session, CallbacksConfig())
    sent = delivery(receiver.url)
    hanging = [asyncio.create_task(sender.attempt(sent)) for _ in range(120)]
    for _ in hanging:
        await receiver.next()
    assert (await sender.attempt(sent)).verdict is Verdict.DELIVERED
    for task in hanging:
        task.cancel()
    await asyncio.wait(hanging)


async def test_a_receiver_that_drips_its_answer_does_not_hold_the_attempt(
    session: aiohttp.ClientSession, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.callbacks.sender._ANSWER_SECONDS", 0.1)
    sender = CallbackSender(session, CallbacksConfig(timeout=3600))
    async with callback_receiver() as dripping, callback_receiver() as prompt:
        dripping.answer_with(drip_body)
        first = asyncio.create_task(sender.attempt(delivery(dripping.url)))
        await dripping.next()
        second = await sender.attempt(delivery(prompt.url))
        assert second.verdict is Verdict.DELIVERED
        attempt = await first
    assert (attempt.verdict, attempt.status) == (Verdict.DELIVERED, 200)
    assert set(attempt.answer) == {"."}  # as far as it came
