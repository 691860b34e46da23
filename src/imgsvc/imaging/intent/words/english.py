"""English."""

from imgsvc.imaging.intent.meanings import Head, Mark, Meaning

WORDS: dict[Meaning, str] = {
    Head.GRAYSCALE: "grayscale, greyscale, gray scale, grey scale, black and white, black white,"
    " monochrome, grays, shades of gray, shades of grey, black & white, b & w, b w, b and w, bw",
    Head.SEPIA: "sepia, sepia tone",
    Head.INVERT: "invert, inverted, inverse, inverting, negative",
    Head.BLUR: "blur, blurred, blurry, blurring, blurrier, gaussian blur, out of focus, unsharp",
    Head.SHARPEN: "sharpen, sharpened, sharpening, sharp, sharper, sharpness, crisp, crisper",
    Head.ENHANCE: "enhance, enhanced, enhancement, auto enhance, autoenhance, auto correct, auto"
    " contrast, pop, improve, improved, touch up, beautify",
    Head.BRIGHTNESS: "brightness, exposure",
    Head.BRIGHTEN: "brighten, brightened, brightening, brighter, bright, lighten, lighter, lighten"
    " up, brighten up",
    Head.DARKEN: "darken, darkened, darkening, darker, dark, dim, dimmer",
    Head.CONTRAST: "contrast, contrasty, contrasts",
    Head.SATURATION: "saturation, vibrance, vividness, colourfulness, colorfulness",
    Head.SATURATE: "saturate, saturated, vivid, vibrant, colorful, colourful",
    Head.DESATURATE: "desaturate, desaturated, muted, washed out",
    Head.WARMTH: "warmth, temperature, color temperature, colour temperature",
    Head.WARM: "warm, warmer, warm up, warming",
    Head.COOL: "cool, cooler, cool down, cooling, cold, colder",
    Head.ROTATE: "rotate, rotated, rotating, rotation",
    Head.TURN: "turn, turned, spin, tilt",
    Head.FLIP: "flip, flipped, flipping, mirror, mirrored, mirror image, mirroring",
    Head.CROP: "crop, cropped, cropping, cut, trim",
    Head.RESIZE: "resize, resized, resizing, scale, scaled, rescale, size, dimensions",
    Head.SHRINK: "shrink, smaller, downscale, scale down, downsize, reduce size",
    Head.ENLARGE: "enlarge, enlarged, larger, bigger, upscale, scale up, magnify",
    Head.THUMBNAIL: "thumbnail, thumb, thumbnails",
    Head.BORDER: "border, borders, bordered, frame, framed, outline",
    Head.CORNERS: "round corners, rounded corners, rounded edges, round edges, corners rounded,"
    " rounded",
    Head.POSTERIZE: "posterize, posterise, posterized, posterised, poster",
    Head.SOLARIZE: "solarize, solarise, solarized, solarised",
    Head.EMBOSS: "emboss, embossed, embossing, relief",
    Head.EDGES: "edges, edge detection, find edges, detect edges, contour, contours",
    Head.SKETCH: "sketch, pencil sketch, pencil drawing, line drawing, pencil",
    Head.PIXELATE: "pixelate, pixelated, pixellate, pixelize, pixelise, mosaic, pixel art",
    Head.VIGNETTE: "vignette, vignetting, dark corners, darken corners, darken edges",
    Head.TEXT: "text, caption, write, title, words, lettering, label, inscription, watermark",
    Head.CONVERT: "convert, converted, save, export, output, file format, encode",
    Mark.PERCENT: "percent, per cent, pct",
    Mark.DEGREES: "degrees, degree, deg",
    Mark.PIXELS: "pixels, pixel, px",
    Mark.BITS: "bits",
    Mark.WIDTH: "wide, width",
    Mark.HEIGHT: "high, height, tall",
    Mark.LEFT: "left, counterclockwise, counter clockwise, anticlockwise, anti clockwise, ccw",
    Mark.RIGHT: "right, clockwise, cw",
    Mark.HORIZONTAL: "horizontal, horizontally, left to right, sideways",
    Mark.VERTICAL: "vertical, vertically, top to bottom",
    Mark.AROUND: "upside down, on its head",
    Mark.TOP: "top, at top, above",
    Mark.CENTRE: "center, centre, middle, centered, centred",
    Mark.BOTTOM: "bottom, below",
    Mark.SQUARE: "square, squared",
    Mark.HALF: "half, halve",
    Mark.DOUBLE: "double, twice",
    Mark.MORE: "more, increase, increased, raise, boost, up, higher, stronger",
    Mark.LESS: "less, decrease, decreased, reduce, reduced, lower, fewer, down",
    Mark.SLIGHTLY: "slightly, little, bit, tad, somewhat, subtle, subtly, gently, light, slight, a"
    " little bit, lightly, soft, softly",
    Mark.STRONGLY: "strongly, strong, very, much, lot, heavily, heavy, extremely, dramatically,"
    " really",
    Mark.TARGET: "to",
    Mark.AS: "as, in, into",
    Mark.ADD: "add, put, insert, place, overlay, draw, print, say, says, saying",
    Mark.MAKE: "make, made, making, change, turn into",
    Mark.NOT: "not, no, don't, do not, does not, never, without, remove, delete, avoid, stop,"
    " isn't, shouldn't, should not, must not, mustn't, dont, cannot, can't, erase, get rid"
    " of, doesn't, instead of, rather than",
    Mark.AND: "and, with, also",
    Mark.OR: "or, nor",
    Mark.STOP: "then, but, after that, afterwards, finally, next, followed by",
    Mark.ARTICLE: "the, a, an, its, it's, my, this, these, that, your, our",
    Mark.FILLER: "please, do, can, could, would, you, i, want, need, like, image, picture, photo,"
    " photograph, pic, photos, pictures, images, apply, use, give, set, get, let, of, by, on, for,"
    " at, from, so, be, is, are, me, adjust, edit, look, looks, effect, effects, filter, style,"
    " tone, tones, whole, entire, all, color, colors, colour, colours, colored, around, mode,"
    " version, should, bring, keep, thick, just, only, now, new, some, aspect, ratio, format,"
    " level, levels, nice, bit of, has, have, will, we, us, there, here, them, angle, radius, to"
    " be, block, blocks, string",
}
