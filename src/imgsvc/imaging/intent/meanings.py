"""What the words of a prompt can mean."""

from enum import StrEnum


class Head(StrEnum):
    """A word that asks for an operation."""

    GRAYSCALE = "grayscale"
    SEPIA = "sepia"
    INVERT = "invert"
    BLUR = "blur"
    SHARPEN = "sharpen"
    ENHANCE = "enhance"
    BRIGHTNESS = "brightness"
    BRIGHTEN = "brighten"
    DARKEN = "darken"
    CONTRAST = "contrast"
    SATURATION = "saturation"
    SATURATE = "saturate"
    DESATURATE = "desaturate"
    WARMTH = "warmth"
    WARM = "warm"
    COOL = "cool"
    ROTATE = "rotate"
    TURN = "turn"  # only with degrees or a direction: "turn it into a drawing" is none
    FLIP = "flip"
    CROP = "crop"
    RESIZE = "resize"
    SHRINK = "shrink"
    ENLARGE = "enlarge"
    THUMBNAIL = "thumbnail"
    BORDER = "border"
    CORNERS = "round corners"
    POSTERIZE = "posterize"
    SOLARIZE = "solarize"
    EMBOSS = "emboss"
    EDGES = "edges"  # only without another order in its clause: "blur the edges" is none
    SKETCH = "sketch"
    PIXELATE = "pixelate"
    VIGNETTE = "vignette"
    TEXT = "text"
    CONVERT = "convert"


class Mark(StrEnum):
    """A word or number that says more about an order, or holds the sentence together."""

    # parameters with a value
    NUMBER = "number"
    PERCENT = "percent"
    DEGREES = "degrees"
    PIXELS = "pixels"
    BITS = "bits"
    WIDTH = "width"
    HEIGHT = "height"
    SIZE = "size"
    RATIO = "ratio"
    COLOUR = "colour"
    QUOTED = "quoted"
    FORMAT = "format"
    # parameters that are words
    LEFT = "left"
    RIGHT = "right"
    HORIZONTAL = "horizontal"
    VERTICAL = "vertical"
    AROUND = "upside down"
    TOP = "top"
    CENTRE = "center"
    BOTTOM = "bottom"
    SQUARE = "square"
    HALF = "half"
    DOUBLE = "double"
    MORE = "more"
    LESS = "less"
    SLIGHTLY = "slightly"
    STRONGLY = "strongly"
    # what holds the sentence together
    TARGET = "to"  # before a number: the value itself, not by how much
    AS = "as"  # before a format
    ADD = "add"  # before a quoted text
    MAKE = "make"  # a filler that a colour of the whole picture may stand behind
    NOT = "not"  # the orders behind it, in its clause, are none
    NOT_AFTER = "nicht"  # as NOT; without orders behind it, those before it are none
    AND = "and"
    OR = "or"
    COMMA = ","
    STOP = "."
    ARTICLE = "the"  # may stand inside a phrase: "round the corners"
    FILLER = "please"


Meaning = Head | Mark

SEPARATORS = frozenset({Mark.AND, Mark.OR, Mark.COMMA, Mark.STOP})
"""What ends a clause."""
