"""What a job tells of itself while it is done."""

from dataclasses import asdict, dataclass, field

import pybase64

from imgsvc.imaging.thumbnail import EncodedThumbnail
from imgsvc.jobs.backend import JobBackend
from imgsvc.jobs.models import EventType
from imgsvc.jobs.spending import JobAccount
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.thumbnails import Thumbnailer, ThumbnailOrder
from imgsvc.providers import LOCAL, EditResult, PartialImage, ProviderCall, ProviderRetry


@dataclass(kw_only=True, slots=True)
class Story:
    """Writes the events of one job; nothing waits for them."""

    backend: JobBackend
    job_id: str
    account: JobAccount  # pays for the calls that it tells of
    spent: Spent = field(default_factory=Spent)  # by those calls alone
    thumbnailer: Thumbnailer | None = None  # None: partial images are not shown
    is_of_item: bool = False  # its row has the rest; events of each would drown who follows
    _order: ThumbnailOrder | None = field(default=None, init=False)  # the newest one

    def tell(self, kind: EventType, **data: object) -> None:
        """Add an event; fields without a value are left out."""
        if not self.is_of_item:
            self.backend.record_event(self.job_id, kind, data)

    def partial_image(self, partial: PartialImage) -> None:
        """Tell of a partial image, as soon as there is a thumbnail of it.

        There will be none if the last one is still being made, or if the call ends before.
        """
        if self.thumbnailer is None or not (self._order is None or self._order.is_settled):
            return

        def show(thumbnail: EncodedThumbnail) -> None:
            self.tell(
                EventType.PARTIAL_IMAGE,
                index=partial.index,
                media_type=thumbnail.format.media_type,
                width=thumbnail.width,
                height=thumbnail.height,
                thumbnail_base64=pybase64.b64encode(thumbnail.content).decode(),
            )

        self._order = ThumbnailOrder(
            partial=partial, job_id=self.job_id, client=self.account.job.client, show=show
        )
        self.thumbnailer.place(self._order)

    def provider_called(self, call: ProviderCall) -> None:
        """Tell of a question to the image API that has ended."""
        if self._order is not None:
            self._order.is_settled = True
            self._order = None
        self.tell(
            EventType.PROVIDER_CALLED,
            provider=call.provider,
            model=call.model,
            seconds=call.seconds,
            waited=call.waited if call.waited > 1 else None,
            error=call.error,
            **(asdict(call.usage) if call.usage is not None else {}),
            **Spent().plus(call.cost).shown,
            moderation_categories=call.categories or None,
        )
        self.spent = self.spent.plus(call.cost)

    def provider_retry(self, retry: ProviderRetry) -> None:
        """Tell of a wait before the image API is asked again."""
        self.tell(
            EventType.PROVIDER_RETRY,
            provider=retry.provider,
            error=retry.error,
            wait=retry.wait,
        )

    def edited(self, result: EditResult) -> None:
        """Tell if another one has made the picture than the provider that was asked for."""
        if result.fallback_reason is not None:
            is_local = result.provider == LOCAL
            self.tell(
                EventType.FALLBACK,
                provider=result.provider,
                reason=result.fallback_reason,
                operations=result.operations if is_local else None,
                ignored=result.ignored if is_local else None,
            )
