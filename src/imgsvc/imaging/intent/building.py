"""From drafts to operations: defaults, signs and bounds of the parameters."""

from collections.abc import Callable, Mapping

from imgsvc.imaging import operations as ops
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.intent.drafts import ADJUSTMENTS, Draft
from imgsvc.imaging.intent.meanings import Head, Mark
from imgsvc.imaging.intent.sentence import Item
from imgsvc.imaging.operations import Length, Operation, Unit

MAX_TEXT = 200
"""Characters of a text that is written on a picture."""

_LARGEST_SIDE = 100_000  # pixels; the limit of pixels is stricter, this one keeps numbers sane
_THUMBNAIL = 256  # pixels

_QUALITIES: Mapping[Head, tuple[ops.Quality, int]] = {
    Head.BRIGHTNESS: (ops.Quality.BRIGHTNESS, 1),
    Head.BRIGHTEN: (ops.Quality.BRIGHTNESS, 1),
    Head.DARKEN: (ops.Quality.BRIGHTNESS, -1),
    Head.CONTRAST: (ops.Quality.CONTRAST, 1),
    Head.SATURATION: (ops.Quality.SATURATION, 1),
    Head.SATURATE: (ops.Quality.SATURATION, 1),
    Head.DESATURATE: (ops.Quality.SATURATION, -1),
    Head.WARMTH: (ops.Quality.WARMTH, 1),
    Head.WARM: (ops.Quality.WARMTH, 1),
    Head.COOL: (ops.Quality.WARMTH, -1),
}  # what is turned, and which way by itself

_CHANGES = {
    ops.Quality.BRIGHTNESS: 30.0,
    ops.Quality.CONTRAST: 30.0,
    ops.Quality.SATURATION: 40.0,
    ops.Quality.WARMTH: 40.0,
}  # percent, if the prompt does not say


def build(draft: Draft) -> list[Operation]:
    """Return what the draft asks for; nothing if a parameter it needs is missing or senseless."""
    if draft.head in ADJUSTMENTS:
        return [_adjustment(draft)]
    built = _BUILDERS[draft.head](draft)
    if built is None:
        return []
    return built if isinstance(built, list) else [built]


def _adjustment(draft: Draft) -> Operation:
    quality, way = _QUALITIES[draft.head]
    is_noun = draft.head in {Head.BRIGHTNESS, Head.CONTRAST, Head.SATURATION, Head.WARMTH}
    directed = not is_noun or not draft.parameters.keys().isdisjoint({Mark.MORE, Mark.LESS})
    if Mark.LESS in draft.parameters:
        way = -way
    item = draft.parameters.get(Mark.PERCENT) or draft.parameters.get(Mark.NUMBER)
    if item is None or item.number is None:
        percent = way * _CHANGES[quality] * _strength(draft)
    elif item.target or (is_noun and not directed and not item.signed):
        percent = abs(item.number) - 100  # "contrast 120 %" and "brightness to 50 %" set it
    elif is_noun and not directed:
        percent = item.number
    else:
        percent = way * abs(item.number)
    return ops.Adjust(quality=quality, percent=_bounded(percent, -100, 300))


def _strength(draft: Draft) -> float:
    if Mark.SLIGHTLY in draft.parameters:
        return 0.5
    return 2.0 if Mark.STRONGLY in draft.parameters else 1.0


def _percent(draft: Draft, default: float, low: float, high: float) -> float:
    item = draft.parameters.get(Mark.PERCENT)
    if item is None or item.number is None:
        return _bounded(default * _strength(draft), low, high)
    return _bounded(abs(item.number), low, high)


def _length(draft: Draft, default: float, high: float) -> Length:
    """Return the length asked for, else default percent; high bounds percentages."""
    percent = draft.parameters.get(Mark.PERCENT)
    if percent is not None and percent.number is not None:
        return Length(_bounded(abs(percent.number), 0.1, high), Unit.PERCENT)
    marks = (Mark.PIXELS, Mark.WIDTH, Mark.NUMBER)
    pixels = next((draft.parameters[mark] for mark in marks if mark in draft.parameters), None)
    if pixels is not None and pixels.number is not None:
        return Length(_bounded(abs(pixels.number), 1, _LARGEST_SIDE), Unit.PIXELS)
    return Length(_bounded(default * _strength(draft), 0.1, high), Unit.PERCENT)


def _blur(draft: Draft) -> Operation:
    return ops.Blur(radius=_length(draft, 25, 100))


def _sharpen(draft: Draft) -> Operation:
    return ops.Sharpen(percent=_percent(draft, 100, 1, 500))


def _vignette(draft: Draft) -> Operation:
    return ops.Vignette(percent=_percent(draft, 60, 1, 100))


def _solarize(draft: Draft) -> Operation:
    return ops.Solarize(percent=_percent(draft, 50, 0, 100))


def _posterize(draft: Draft) -> Operation:
    item = draft.parameters.get(Mark.BITS) or draft.parameters.get(Mark.NUMBER)
    bits = 3 if item is None or item.number is None else round(abs(item.number))
    return ops.Posterize(bits=max(1, min(8, bits)))


def _pixelate(draft: Draft) -> Operation:
    return ops.Pixelate(block=_length(draft, 3, 100))


def _rotate(draft: Draft) -> Operation | None:
    given = draft.parameters
    item = given.get(Mark.DEGREES) or given.get(Mark.NUMBER)
    if item is not None and item.number is not None:
        degrees = item.number
    elif Mark.AROUND in given:
        degrees = 180.0
    elif draft.head is Head.TURN and given.keys().isdisjoint({Mark.LEFT, Mark.RIGHT}):
        return None
    else:
        degrees = 90.0
    if Mark.LEFT in given:
        degrees = -abs(degrees)
    degrees = -((180 - degrees) % 360 - 180)  # above -180, at most 180
    return ops.Rotate(degrees=degrees) if degrees else None


def _flip(draft: Draft) -> Operation:
    is_vertical = not draft.parameters.keys().isdisjoint({Mark.VERTICAL, Mark.AROUND})
    return ops.Flip(axis=ops.Axis.VERTICAL if is_vertical else ops.Axis.HORIZONTAL)


def _crop(draft: Draft) -> list[Operation] | None:
    given = draft.parameters
    if Mark.SQUARE in given:
        return [ops.Crop(width=1, height=1)]
    item = given.get(Mark.RATIO) or given.get(Mark.SIZE)
    if item is None or 0 in item.pair:
        return None
    crop = ops.Crop(width=item.pair[0], height=item.pair[1])
    return [crop, *_resized(item.pair)] if item.meaning is Mark.SIZE else [crop]


def _resize(draft: Draft) -> list[Operation] | None:
    given = draft.parameters
    if (size := given.get(Mark.SIZE)) is not None:
        return None if 0 in size.pair else _resized(size.pair)
    width, height = _side(given.get(Mark.WIDTH)), _side(given.get(Mark.HEIGHT))
    if width is None and height is None:
        width = _side(given.get(Mark.PIXELS) or given.get(Mark.NUMBER))
    if width is not None or height is not None:
        return [ops.Resize(width=width, height=height)]
    percent = _scale(draft)
    return None if percent is None else [ops.Resize(percent=_bounded(percent, 1, 1000))]


def _resized(pair: tuple[int, int]) -> list[Operation]:
    return [ops.Resize(width=min(pair[0], _LARGEST_SIDE), height=min(pair[1], _LARGEST_SIDE))]


def _scale(draft: Draft) -> float | None:
    """Return to how many percent a draft scales; None if it does not say."""
    given = draft.parameters
    shrinks = draft.head is Head.SHRINK or Mark.LESS in given
    grows = draft.head is Head.ENLARGE or Mark.MORE in given
    item = given.get(Mark.PERCENT)
    if item is not None and item.number is not None:
        if item.target or not (shrinks or grows):
            return 100 + item.number if item.signed else item.number
        return 100 - abs(item.number) if shrinks else 100 + abs(item.number)
    if Mark.HALF in given:
        return 50.0
    if Mark.DOUBLE in given:
        return 200.0
    if draft.is_vague:
        return None  # "make the dog bigger" is not about the picture
    return 50.0 if shrinks else 200.0 if grows else None


def _side(item: Item | None) -> int | None:
    if item is None or not item.number:
        return None
    return round(_bounded(abs(item.number), 1, _LARGEST_SIDE))


def _thumbnail(draft: Draft) -> Operation:
    given = draft.parameters
    if (size := given.get(Mark.SIZE)) is not None and 0 not in size.pair:
        return ops.Thumbnail(width=size.pair[0], height=size.pair[1])
    marks = (Mark.PIXELS, Mark.NUMBER, Mark.WIDTH, Mark.HEIGHT)
    side = next(filter(None, (_side(given.get(mark)) for mark in marks)), _THUMBNAIL)
    return ops.Thumbnail(width=side, height=side)


def _border(draft: Draft) -> Operation:
    colour = draft.parameters.get(Mark.COLOUR)
    return ops.Border(
        width=_length(draft, 3, 100), colour="#000000" if colour is None else colour.word
    )


def _corners(draft: Draft) -> Operation:
    return ops.RoundCorners(radius=_length(draft, 8, 50))


def _text(draft: Draft) -> Operation | None:
    given = draft.parameters
    quoted = given.get(Mark.QUOTED)
    text = "" if quoted is None else " ".join(filter(str.isprintable, quoted.word.split()))
    if not text:
        return None
    place = ops.Place.BOTTOM
    if Mark.TOP in given:
        place = ops.Place.TOP
    elif Mark.CENTRE in given:
        place = ops.Place.CENTRE
    colour = given.get(Mark.COLOUR)
    return ops.AddText(
        text=text[:MAX_TEXT].strip(),
        place=place,
        colour="#ffffff" if colour is None else colour.word,
    )


def _convert(draft: Draft) -> Operation | None:
    item = draft.parameters.get(Mark.FORMAT)
    return None if item is None else ops.Convert(format=ImageFormat(item.word))


def _bounded(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


_BUILDERS: Mapping[Head, Callable[[Draft], Operation | list[Operation] | None]] = {
    Head.GRAYSCALE: lambda _: ops.Grayscale(),
    Head.SEPIA: lambda _: ops.Sepia(),
    Head.INVERT: lambda _: ops.Invert(),
    Head.ENHANCE: lambda _: ops.Enhance(),
    Head.EMBOSS: lambda _: ops.Emboss(),
    Head.EDGES: lambda _: ops.Edges(),
    Head.SKETCH: lambda _: ops.Sketch(),
    Head.BLUR: _blur,
    Head.SHARPEN: _sharpen,
    Head.VIGNETTE: _vignette,
    Head.SOLARIZE: _solarize,
    Head.POSTERIZE: _posterize,
    Head.PIXELATE: _pixelate,
    Head.ROTATE: _rotate,
    Head.TURN: _rotate,
    Head.FLIP: _flip,
    Head.CROP: _crop,
    Head.RESIZE: _resize,
    Head.SHRINK: _resize,
    Head.ENLARGE: _resize,
    Head.THUMBNAIL: _thumbnail,
    Head.BORDER: _border,
    Head.CORNERS: _corners,
    Head.TEXT: _text,
    Head.CONVERT: _convert,
}
