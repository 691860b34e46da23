"""Reads an answer that comes as a stream of events, and passes its partial images on."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from openai import APIError, AsyncAPIResponse

from imgsvc.errors import ProviderBadAnswer
from imgsvc.providers.base import Observer, PartialImage
from imgsvc.providers.openai.answer import Answer
from imgsvc.providers.openai.classify import FailedMidStream
from imgsvc.providers.openai.events import MEDIA_TYPE, StreamEvent, StreamReader


def is_stream(response: AsyncAPIResponse[Any]) -> bool:
    """Tell whether the answer is a stream; a server need not know how to make one."""
    return response.headers.get("Content-Type", "").lower().startswith(MEDIA_TYPE)


async def follow(response: AsyncAPIResponse[Any], observer: Observer, partials: int) -> Answer:
    """Return the result as soon as it is there; before, tell of at most so many partial images.

    Raises APIError for an event that says what went wrong: FailedMidStream behind any other
    one, by which the API has begun to work. Raises ProviderBadAnswer for a stream that is
    damaged or ends without a result.
    """
    failure: type[APIError] = APIError
    told = 0
    async with aclosing(_events(response)) as events:
        async for event in events:
            if event.error is not None:
                raise failure("error event", request=response.http_request, body=event.error)
            if event.is_completed:
                return await asyncio.to_thread(event.answer)
            if event.is_partial and told < partials:
                observer.partial_image(PartialImage(index=told, read=event.file))
                told += 1
            failure = FailedMidStream
    raise ProviderBadAnswer("The image API's answer ended before the image.")


async def _events(response: AsyncAPIResponse[Any]) -> AsyncGenerator[StreamEvent]:
    reader = StreamReader()
    async for chunk in response.iter_bytes():
        for event in reader.feed(chunk):
            yield event
    for event in reader.close():
        yield event
