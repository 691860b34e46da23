# ruff: noqa: INP001 - a script to run by hand, not a package
"""Render the demo picture: a snowy range over a lake, from nothing but arithmetic.

World axes are x to the right, z away from the camera and y up, in metres; the lake is y = 0. The
camera looks along +z, so an image column is a vertical slice of the world and a ray is (t, s, 1).
Run `python docs/pictures/render_landscape.py OUT.jpg`; it needs numpy and pillow.
"""

import sys
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[Any]
OUT_WIDTH, OUT_HEIGHT, FINE = 1600, 1067, 3  # the foreground is drawn three times as fine
WIDTH, HEIGHT = 2400, 1600  # the rest is rendered 1.5 times as fine, against jagged edges
FOCAL, HORIZON, BELOW, EYE = 2400.0, 896, 80, 11.0  # pixels, row, land rows below it, metres
SIZE, NEAR, CELLS = 16000.0, 600.0, 2048  # side of the land, its first z, cells per side
SUN = np.array([-0.88, 0.33, -0.16]) / np.linalg.norm([-0.88, 0.33, -0.16])
SUNLIGHT, SKYLIGHT = np.array([4.9, 3.33, 1.86]), np.array([0.203, 0.26, 0.385])
TILE = np.pad(np.random.default_rng(7).random((256, 256), np.float32), (0, 1), mode="wrap")
UPLIFT = (1.5, 0.7, 0.9, 0.8, 0.42, 0.55)  # of six hills, the peak first, the lake's last
CENTRES = ((1100, 7900), (1800, 8300), (-3300, 7800), (5500, 7500), (2500, 3500), (-1700, 3600))
RADII = ((1500, 1500), (3000, 2000), (1700, 2300), (2400, 2600), (1200, 1000), (900, 1100))
SPRUCES = (0.205, 0.015, 0.135, 0.075, 0.246, 0.862, 0.885, 0.955, 0.992)  # across the picture
TALL = (0.30, 0.62, 0.47, 0.80, 0.13, 0.10, 0.17, 0.36, 0.50)  # of the picture's height


def noise(x: Array, z: Array) -> Array:
    """Value noise in 0..1 with one random value per unit square."""
    i, j = np.floor(x), np.floor(z)
    u, v = ((f * f * f * (f * (f * 6 - 15) + 10)) for f in (x - i, z - j))
    i, j = i.astype(np.int32) & 255, j.astype(np.int32) & 255
    near: Array = TILE[j, i] + (TILE[j, i + 1] - TILE[j, i]) * u
    return near + (TILE[j + 1, i] + (TILE[j + 1, i + 1] - TILE[j + 1, i]) * u - near) * v


def fbm(x: Array, z: Array, octaves: int, *, ridged: bool = False) -> Array:
    """Sum octaves of noise, each turned and twice as fine; ridged ones have sharp crests."""
    total, weight = np.zeros(np.broadcast(x, z).shape, np.float32), 0.5
    for _ in range(octaves):
        n = noise(x, z)
        total += weight * (1 - np.abs(2 * n - 1) if ridged else n)
        weight, x, z = weight / 2, 1.6 * x + 1.2 * z + 17.3, 1.6 * z - 1.2 * x + 9.1
    return total


def step(low: float, high: float, x: Array) -> Array:
    """Smoothstep: 0 at low, 1 at high; low may be the greater."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: npt.ArrayLike, b: npt.ArrayLike, t: Array) -> Array:
    """Colour a where t is 0, colour b where t is 1."""
    return np.asarray(a) + (np.asarray(b) - np.asarray(a)) * t[..., None]


def lookup(a: Array, row: Array, column: Array) -> Array:
    """Read an array bilinearly at fractional rows and columns."""
    row, column = np.clip(row, 0, a.shape[0] - 1.01), np.clip(column, 0, a.shape[1] - 1.01)
    i, j = row.astype(np.int32), column.astype(np.int32)
    u, v = ((f.reshape(f.shape + (1,) * (a.ndim - 2))) for f in (row - i, column - j))
    near = a[i, j] + (a[i, j + 1] - a[i, j]) * v
    return near + (a[i + 1, j] + (a[i + 1, j + 1] - a[i + 1, j]) * v - near) * u


def resize(a: Array, n: int) -> Array:
    """Bicubic resize of a square map to n by n; there and back is a blur."""
    return np.array(Image.fromarray(a.astype(np.float32)).resize((n, n)))


def setting(n: int) -> tuple[Array, Array, Array]:
    """On an n by n grid: the uplift, where the land is, and the steepest stable slope."""
    c = (np.arange(n, dtype=np.float32) + 0.5) / n * SIZE
    x, z = np.meshgrid(c - SIZE / 2, c + NEAR)
    uplift = np.full_like(x, 0.06)
    for up, (a, b), (p, q) in zip(UPLIFT, CENTRES, RADII, strict=True):
        uplift += up * np.exp(-(((x - a) / p) ** 2) - ((z - b) / q) ** 2)
    uplift *= 0.55 + 0.9 * fbm(x / 2500, z / 2500, 5)
    land = z > 1275 + 500 * fbm(x / 900, 0 * x + 3.3, 4) + 1500 * np.exp(-((x / 500 + 0.6) ** 2))
    land[[0, -1]] = land[:, [0, -1]] = False
    return uplift, land, 0.62 + 0.95 * fbm(x / 700, z / 700, 6)


def erode(h: Array, rounds: int) -> Array:
    """Raise the land and let rivers cut it: the stream power law by implicit steps."""
    n, cell, here = len(h), SIZE / len(h), np.arange(h.size)
    uplift, land, steepest = (m.ravel() for m in setting(n))
    for _ in range(rounds):
        wall, best, to = np.pad(h, 1, constant_values=1e9), np.zeros(n * n), here
        for a, b in product((-1, 0, 1), repeat=2):
            drop = (h - wall[1 + a : n + 1 + a, 1 + b : n + 1 + b]).ravel() / np.hypot(a, b or 1e-9)
            to, best = np.where(land & (drop > best), here + a * n + b, to), np.maximum(best, drop)
        root, run = to == here, cell * np.where(np.isin(np.abs(to - here), (1, n)), 1, np.sqrt(2))
        hop, area = np.append(np.where(root, n * n, to), n * n), np.append(cell**2 + 0 * here, 0)
        for _ in range(12):  # sums along the rivers by pointer jumping, up to 4096 cells
            area += np.bincount(hop, area, n * n + 1)
            area[-1], hop = 0, hop[hop]
        cut = np.where(root, 0, np.sqrt(area[:-1]) / run / 11)
        own, share, hop = (h.ravel() + 30 * uplift * land) / (1 + cut), cut / (1 + cut), to
        for _ in range(12):
            own, share, hop = own + share * own[hop], share * share[hop], hop[hop]
        for _ in range(3):  # landslides
            own = np.minimum(own, own[to] + run * np.where(root, 9, steepest))
        h = np.where(land, own, 0).reshape(n, n).astype(np.float32)
    return h


def grow() -> Array:
    """Return maps of height, slope, height over the surroundings and height of shadow."""
    h: Array = setting(256)[0] * 200 + 30 * TILE[:-1, :-1]
    for n, rounds in ((256, 110), (512, 40), (1024, 14)):
        h = resize(h, n) + SIZE / n * 0.3 * np.random.default_rng(n).random((n, n))
        h = erode(np.where(setting(n)[1], np.maximum(h, 0), 0).astype(np.float32), rounds)
    h = resize(np.where(setting(1024)[1], 0.4 * h + 0.6 * resize(resize(h, 512), 1024), -6), CELLS)
    slope, hollow = np.hypot(*np.gradient(h, SIZE / CELLS)), h - resize(resize(h, 128), CELLS)
    rows, shadow = np.arange(CELLS), h.copy()
    for k in range(1, CELLS):  # the height the sun is hidden below, swept away from the sun
        behind = np.interp(rows + SUN[2] / -SUN[0], rows, shadow[:, k - 1])
        shadow[:, k] = np.maximum(behind - SIZE / CELLS * SUN[1] / -SUN[0], h[:, k])
    return np.stack([h, resize(resize(slope, 700), CELLS), hollow, shadow], -1)


def ground(maps: Array, x: Array, z: Array, octaves: int) -> tuple[Array, Array]:
    """Height with rock detail, and coarse slope; the warp hides the grid of the maps."""
    dx = 60 * noise(x / 210, z / 210) + 24 * noise(x / 60, z / 60 + 9) - 42
    dz = 60 * noise(x / 210 + 31, z / 210) + 24 * noise(x / 60 + 7, z / 60) - 42
    place = (z + dz - NEAR) / SIZE * CELLS - 0.5, ((x + dx) / SIZE + 0.5) * CELLS - 0.5
    h, slope = lookup(maps[..., :2], *place).T
    rock = fbm(x / 130, z / 130, octaves, ridged=True) - 0.57
    return h + 88 * rock * step(0.1, 1, slope) * step(0, 60, h), slope


def canopy(x: Array, z: Array, h: Array, slope: Array) -> tuple[Array, Array, Array, Array]:
    """Conifers as cones: height over ground, tone 0..1, offset along x, and forest density."""
    line, grove = 503 + 520 * fbm(x / 500, z / 500, 3), fbm(x / 260 + 3, z / 260, 4)
    dense = step(140, -160, h - line) * step(1.25, 0.7, slope) * step(0.5, 3, h)
    dense *= step(0.26, 0.40, grove + 0.5 * dense * step(500, 100, h))
    best = np.zeros((3, *x.shape))
    for k, pitch in enumerate((7.5, 9.0, 11.0)):  # one cone per cell, of three grids the highest
        u, v = x / pitch + 0.37 * k, z / pitch + 0.71 * k
        i, j = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
        r1, r2, r3 = (TILE[(7 * j + m * i) & 255, (5 * i + m * j + k) & 255] for m in (1, 2, 3))
        dx, dz = (u - i - 0.35 - 0.3 * r1) * pitch, (v - j - 0.35 - 0.3 * r2) * pitch
        size = (9 + 17 * r3 * r3 + 5 * r1) * (0.5 + 0.5 * dense)
        cone = size * (1 - np.hypot(dx, dz) / (0.16 * size + 0.9)) * (r2 < 1.1 * dense)
        best = np.where(cone > best[0], np.stack([cone, (r1 + r3) / 2, 5 * dx / size]), best)
    return best[0], best[1], best[2], dense


def shade(maps: Array, x: Array, y: Array, z: Array) -> Array:
    """Radiance of land or tree at a visible point, seen through the air."""
    e, place = np.maximum(z / 2000, 1.2), ((z - NEAR) / SIZE * CELLS, (x / SIZE + 0.5) * CELLS)
    h, slope = ground(maps, x, z, 6)
    hx, hz = ground(maps, x + e, z, 6)[0], ground(maps, x, z + e, 6)[0]
    n = np.stack([h - hx, e, h - hz], -1) / np.sqrt((h - hx) ** 2 + e**2 + (h - hz) ** 2)[:, None]
    tall, tone, side, dense = canopy(x, z, h, slope)
    tree, up = (y - h > 0.6) & (tall > 0.6), np.clip((y - h) / np.maximum(tall, 1), 0, 1)
    fine, broad, bend = fbm(x / 40, z / 40, 4), fbm(x / 420, z / 420, 4), 1 - n[:, 1]
    rock = mix((0.12, 0.105, 0.098), (0.25, 0.22, 0.195), step(0.3, 0.62, fine))
    flat = step(0.34, 0.2, bend + 0.25 * fine - 0.11) * step(1250, 900, h + 300 * broad - 135)
    colour = mix(mix(rock, (0.16, 0.152, 0.06), flat), (0.039, 0.061, 0.031), 0.8 * dense)
    cold = step(-60, 190, h + 90 * fine - 445 - 760 * broad)
    held = step(0.64, 0.44, bend + 0.16 * fine - 0.075 - 0.12 * step(1200, 1750, h))
    colour = mix(colour, (0.9, 0.92, 0.95), cold * held)
    colour[tree] = mix((0.02, 0.034, 0.016), (0.05, 0.066, 0.026), tone[tree])
    hollow, shadow = lookup(maps[..., 2:], *place).T
    facing = np.where(tree, 0.38 - 0.75 * side, n @ SUN).clip(0, 1)
    lit = facing * step(-32, -4, h - shadow)
    lit *= np.where(tree, 0.25 + 0.75 * step(0.1, 0.75, up), 1 - 0.6 * dense)
    open_sky = np.where(tree, 0.3 + 0.7 * up, (1 - 0.45 * dense) * step(-110, 30, hollow))
    colour *= SUNLIGHT * lit[:, None] + SKYLIGHT * open_sky[:, None]
    air = (z * np.exp(-np.maximum(h, 0) / 2600))[:, None] * np.array([1.9e-5, 3.2e-5, 5.8e-5])
    colour += (np.array([0.53, 0.63, 0.82]) - colour) * (1 - np.exp(-air))
    mist = (1 - np.exp((900 - z) / 3200)) * np.exp(-np.maximum(h, 0) / 70)
    return mix(colour, (0.86, 0.82, 0.84), 0.3 * mist)


def sky(t: Array, s: Array) -> Array:
    """Radiance of the sky along rays."""
    rise = np.maximum(s, 0) / np.sqrt(1 + t * t)
    blue = mix((0.095, 0.235, 0.56), (0.66, 0.72, 0.84), np.exp(-5.6 * rise))
    blue = mix(blue, (1, 0.8, 0.62), 0.55 * np.exp(-9 * rise) * step(0.9, -0.8, t))
    x, z, fade = t / (s + 0.16), 1 / (s + 0.16), step(0.005, 0.07, s)
    curl, roll = 1.5 * fbm(x * 1.3 + 4, z * 1.3, 4), 1.5 * fbm(x * 1.3, z * 1.3 + 8, 4)
    a, b, bank = x * 1.7 + curl + 2, z * 2.3 + roll + 20, fbm(x * 0.55 + 8, z * 0.8 + 21, 2)
    dense = 0.52 * bank + 0.55 * fbm(a, b, 8)
    lit = 0.75 + 3 * (fbm(a, b, 7) - fbm(a - 0.2, b - 0.05, 5)) - 1.5 * np.maximum(dense - 0.58, 0)
    cover, veil = step(0.5, 0.67, dense), fbm(x * 0.8 + z * 0.5, z * 3.2 - x * 1.4, 7)
    blue = mix(blue, mix((0.5, 0.53, 0.63), (1.55, 1.3, 1.08), lit.clip(0, 1.15)), cover * fade)
    return mix(blue, (1.12, 1.02, 0.97), 0.3 * step(0.5, 0.76, veil) * (1 - cover) * fade)


def view(maps: Array, eye: float, width: int) -> Array:
    """Radiance from BELOW rows under the horizon upwards; black where a ray meets the water."""
    z = np.exp(np.arange(np.log(950), np.log(16300), 0.00085)).astype(np.float32)
    t = (((np.arange(width) + 0.5) / width - 0.5) * WIDTH / FOCAL).astype(np.float32)
    s = ((np.arange(-BELOW, HORIZON) + 0.5) / FOCAL).astype(np.float32)
    image = np.zeros((len(s), width, 3), np.float32)
    for block, part in zip(np.split(image, 16, 1), np.split(t, 16), strict=True):  # saves memory
        rays, depth = np.meshgrid(part, s), np.empty((len(s), len(part)), np.float32)
        for k, x in enumerate(part[:, None] * z):
            h, slope = ground(maps, x, z, 3)
            seen = (h + canopy(x, z, h, slope)[0] - eye) / z
            top = np.maximum.accumulate(seen)  # the skyline of all that is nearer
            i = np.clip(np.searchsorted(top, s), 1, len(z) - 1)
            f = ((s - seen[i - 1]) / np.maximum(seen[i] - seen[i - 1], 1e-9)).clip(0, 1)
            d = z[i - 1] + (z[i] - z[i - 1]) * f
            d[(eye > 0) & (eye + s * d < 0)] = np.nan
            depth[:, k] = np.where(s > top[-1], np.inf, d)
        a, b, c = (v[np.isfinite(depth)] for v in (*rays, depth))
        block[np.isfinite(depth)] = shade(maps, a * c, eye + b * c, c)
        block[np.isinf(depth)] = sky(*(v[np.isinf(depth)] for v in rays))
    return image


def water(mirror: Array) -> Array:
    """Radiance of the lake below the horizon, from what a camera mirrored in the lake sees."""
    rng, wide, t = np.random.default_rng(3), mirror.shape[1], (np.arange(WIDTH) + 0.5) / WIDTH
    image = np.zeros((HEIGHT - HORIZON, WIDTH, 3), np.float32)
    for row, s in enumerate((np.arange(len(image)) + 0.5) / FOCAL):
        z, x = EYE / s, (t - 0.5) * WIDTH / FOCAL * EYE / s
        rough = 0.0035 + 0.022 * step(0.42, 0.62, fbm(x / 160, z / 420, 4)) * step(90, 500, z)
        waves = (fbm(x / 1.6, z / 0.9, 3) - 0.44) * 3.2 * step(260, 60, z)
        tilt = rough * (waves + (fbm(x / 9, z / 4, 3) - 0.44) * 2.5)
        fresnel = 0.86 * (0.02 + 0.98 * (1 - np.clip(s + tilt, 0.002, 1)) ** 5)
        for up, side in rng.normal(size=(8, 2, WIDTH)) * rough:  # waves too small to be seen
            above = np.abs(s + 2 * tilt + 1.5 * up) * FOCAL + BELOW - 0.5
            seen = lookup(mirror, above, (t + 0.5 * tilt + 0.15 * side) * wide - 0.5)
            image[row] += mix((0.021, 0.062, 0.07), seen, fresnel) / 8
    return image


def spruce(draw: ImageDraw.ImageDraw, x: float, y: float, tall: float) -> None:
    """Draw a spruce of that height standing at (x, y), from its far branches to its near ones."""
    rng, w = np.random.default_rng(int(x)), 0.0055 * tall
    draw.polygon([(x - w, y), (x + w, y), (x + 1, y - tall), (x - 1, y - tall)], (34, 28, 22, 255))
    for front in np.sort(np.sin(rng.uniform(0, 6.28, int(420 + tall / 4)))):
        f, cos = 0.93 * rng.beta(1.2, 1) ** 0.9, rng.choice((-1, 1)) * np.sqrt(1 - front**2)
        size = tall * (0.006 + 0.185 * f**0.8) * rng.uniform(0.5, 1.25)
        u, droop = np.linspace(0, 1, max(6, int(size / 8))), 0.9 * min(1, 3.2 * f) + 0.1 * f - 0.35
        bend = droop * (u - 0.38 * u**2.6) + 0.2 * front * u - 0.04 * np.sin(3 * u)
        bx, by = x + cos * size * u, y - 0.99 * tall * (1 - f) + size * bend
        light = (0.5 - 0.55 * cos + 0.25 * front).clip(0, 1) * (0.35 + 0.65 * u)
        twig = (0.15 * size * (1 - 0.65 * u) + 3.3) * rng.uniform(0.7, 1.3, len(u))
        for k, side in product(range(len(u)), (-1, 1)):
            shine = (light[k] * rng.uniform(0.6, 1.15)) ** 2
            ink = (int(18 + 96 * shine), int(27 + 78 * shine), int(18 + 28 * shine), 255)
            reach = 0.45 * cos + 0.42 * side * abs(front) + 0.1 * rng.normal()
            end = (bx[k] + twig[k] * reach, by[k] + twig[k] * rng.uniform(-0.1, 0.7))
            draw.line((bx[k], by[k], *end), ink, FINE - 1)


def foreground() -> Image.Image:
    """Draw the near shore with its spruces and grass on a transparent ground."""
    rng, n, wide, high = np.random.default_rng(12), 75_000, OUT_WIDTH * FINE, OUT_HEIGHT * FINE
    image = Image.new("RGBA", (wide, high), (24, 30, 14, 0))
    draw, near, u = ImageDraw.Draw(image), np.sort(rng.random(n) ** 0.62), rng.random(n)
    edge = 0.006 * np.sin(u * 23) + 0.004 * np.sin(u * 57 + 1)
    edge += 0.92 - 0.08 * np.exp(-((5 * u) ** 2)) - 0.06 * np.exp(-((4.6 * u - 4.7) ** 2))
    for at, size in zip(SPRUCES, TALL, strict=True):
        spruce(draw, at * wide, (edge[np.abs(u - at).argmin()] + 0.014) * high, size * high)
    shore = list(zip(np.sort(u) * wide, (edge[np.argsort(u)] + 0.004) * high, strict=True))
    draw.polygon([(0, high), *shore, (wide, high)], (34, 38, 17, 255))
    patch, tuft = fbm(u * 1600 / (60 + 260 * near), near * 12, 4), fbm(u * 70, near * 22, 3)
    x, y = u * wide, (edge + 0.004 + (1.1 - edge) * near**1.35) * high
    tall = FINE * (9 + 64 * near**1.6) * rng.uniform(0.4, 1.4, n) * (0.3 + 2 * tuft)
    lean, thick = tall * rng.normal(0.22, 0.3, n), FINE * (0.25 + near) * rng.uniform(0.6, 1.3, n)
    light = (3.4 * patch - 1.02).clip(0.05, 1.1) * rng.uniform(0.5, 1.3, n) * (1 - 0.35 * near)
    tips = (148, 136, 60) + rng.normal(0, 1, (n, 1)) * (26, 9, 14)
    for k, ink in enumerate(mix((26, 33, 14), tips, light).clip(0, 255).astype(int)):
        blade = [(x[k] - thick[k], y[k]), (x[k] + thick[k], y[k]), (x[k] + lean[k], y[k] - tall[k])]
        draw.polygon(blade, (*ink, 255))
    return image.resize((OUT_WIDTH, OUT_HEIGHT), Image.Resampling.BOX)


def main() -> None:
    """Render, develop, add what a lens and a film would, and save."""
    maps, seen = grow(), np.zeros((HEIGHT, WIDTH, 3), np.float32)
    seen[HORIZON:] = water(view(maps, -EYE, WIDTH // 2))
    direct = view(maps, EYE, WIDTH)[::-1]
    np.copyto(seen[: HORIZON + BELOW], direct, where=direct > 0)
    x = (seen * (1.606 * seen + 0.024) / (seen * (1.555 * seen + 0.472) + 0.14)) ** (1 / 2.2)
    x = (280.5 * x - 25.5 * x.mean(-1, keepdims=True) + 0.5).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(x).resize((OUT_WIDTH, OUT_HEIGHT))
    image = Image.alpha_composite(image.convert("RGBA"), foreground()).convert("RGB")
    rng, near = np.random.default_rng(5), np.linspace(-17, 1, OUT_HEIGHT).clip(0, 1)[:, None, None]
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(2.6)), np.float32)
    film = soft * near + np.asarray(image, np.float32) * (1 - near)
    film += rng.normal(0, 1.8, (OUT_HEIGHT, OUT_WIDTH, 1)) + rng.normal(0, 0.8, film.shape)
    Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(sys.argv[1], quality=85, optimize=True)


if __name__ == "__main__":
    main()
