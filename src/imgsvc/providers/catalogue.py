"""Which provider and model edit a request: the one it names, and those that step in for it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from imgsvc.errors import (
    FieldError,
    ModelNotOffered,
    NotOfferedByModel,
    ProviderError,
    ProviderModelNotFound,
    ProviderNotConfigured,
)
from imgsvc.providers.base import LOCAL, Provider
from imgsvc.providers.models import Model
from imgsvc.providers.options import EditOptions

LOCAL_MODEL = Model(
    name=LOCAL, any_size=False, qualities=(), backgrounds=(), masks=False, usd_per_image=0
)
"""What the local engine takes beside the prompt, which says all else: a format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A provider to ask, and for which of its models."""

    provider: Provider
    model: Model

    def is_among(self, names: Collection[str] | None) -> bool:
        """Tell whether it goes by one of the names: of provider, model, or `provider/model`."""
        provider, model = self.provider.name, self.model.name
        return names is None or not {provider, model, f"{provider}/{model}"}.isdisjoint(names)


class Catalogue:
    """What all providers offer, in the order in which they are asked."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = tuple(providers)

    def check(self, options: EditOptions, *, has_mask: bool) -> None:
        """Raise ModelNotOffered, or NotOfferedByModel, for what no provider would do.

        Without any provider there is nothing to compare a request with: the local engine
        steps in for whatever was asked for.
        """
        if options.model == LOCAL:
            _check(LOCAL_MODEL, options, has_mask=has_mask)
        elif self._providers and not self.choices(options, has_mask=has_mask):
            named = list(self._named(options.model))
            if not named:
                names = ", ".join([*self._names(), LOCAL])
                raise ModelNotOffered(
                    [FieldError(field="model", message=f"is none of those offered: {names}")]
                )
            _check(named[0].model, options, has_mask=has_mask)

    def choices(self, options: EditOptions, *, has_mask: bool) -> list[Choice]:
        """Return whom to ask, in order: who has the model that is named, then all others.

        The others, with the model that each edits with by default, are those that can do
        all that is asked for; who only steps in need not stream. Nobody is in the list if
        nobody has the model, if it cannot do it, or if it is none that the caller is held to.
        """

        def can(choice: Choice, options: EditOptions) -> bool:
            return choice.is_among(options.models) and not choice.model.wrong_fields(
                options, has_mask=has_mask
            )

        asked = [choice for choice in self._named(options.model) if can(choice, options)]
        if not asked:
            return []
        chosen = {choice.provider.name: choice for choice in asked}
        without_stream = replace(options, stream_partials=0)
        for choice in chain(self._named(options.model), self._named(None)):
            if can(choice, without_stream):
                chosen.setdefault(choice.provider.name, choice)
        return list(chosen.values())

    def allows(self, options: EditOptions, *, has_mask: bool) -> bool:
        """Tell whether what was asked for is among the models that the caller is held to.

        Without any provider the local engine does whatever was asked for: then the name counts.
        """
        if options.models is None:
            return True
        if options.model == LOCAL or not self._providers:
            return options.model is None or options.model in options.models
        return bool(self.choices(options, has_mask=has_mask))

    def asked_for(self, options: EditOptions, *, has_mask: bool) -> str:
        """Return the name of who is asked first: ``local`` if there is no other."""
        choices = [] if options.model == LOCAL else self.choices(options, has_mask=has_mask)
        return choices[0].provider.name if choices else LOCAL

    def nobody(self) -> ProviderError:
        """Return the error that says why there are no choices."""
        return ProviderModelNotFound() if self._providers else ProviderNotConfigured()

    def _named(self, name: str | None) -> Iterator[Choice]:
        """Yield who has the model of this name; of all providers the default, without one.

        A name is that of a model, of a provider, or `provider/model`.
        """
        for provider in self._providers:
            default, *_ = provider.models.values()
            prefix, _, rest = (name or "").partition("/")
            if name is None or name == provider.name:
                yield Choice(provider=provider, model=default)
            elif name in provider.models:
                yield Choice(provider=provider, model=provider.models[name])
            elif prefix == provider.name and rest in provider.models:
                yield Choice(provider=provider, model=provider.models[rest])

    def _names(self) -> Iterator[str]:
        for provider in self._providers:
            for model in provider.models:
                yield f"{provider.name}/{model}"


def _check(model: Model, options: EditOptions, *, has_mask: bool) -> None:
    if wrong := model.wrong_fields(options, has_mask=has_mask):
        raise NotOfferedByModel(wrong)
