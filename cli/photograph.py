"""Pictures that weigh what photographs weigh, made from a seed.

`photograph` paints a sky with clouds, ranges of hills and sensor grain, and then sets the amount
of grain so that the JPEG comes out at the size asked for. The same seed and size give the same
bytes with the same Pillow; another seed gives another picture.
"""

# Pillow's signatures name numpy's types, which are unknown where numpy is not installed.
# pyright: reportUnknownMemberType=false

import itertools
import math
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

__all__ = ["PHOTOGRAPH_BYTES", "photograph"]

PHOTOGRAPH_BYTES: Final = 2_600_000
"""What a 12-megapixel phone camera typically stores."""

_BYTES_PER_PIXEL = 0.5
_QUALITY = 90
_SMALLEST_SIDE = 48
_TOLERANCE = 0.01
_MAX_TRIES = 8

_Colour = tuple[int, int, int]


def photograph(seed: int, size: int = PHOTOGRAPH_BYTES) -> bytes:
    """Paint one landscape and return it as a JPEG of about `size` bytes.

    The result is within a few per cent of `size` from 20 000 bytes to 20 MB; below that the
    smallest picture is larger than asked for.
    """
    random = Random(seed)
    width = max(_SMALLEST_SIDE, round(math.sqrt(size / _BYTES_PER_PIXEL * 4 / 3)))
    height = max(_SMALLEST_SIDE, width * 3 // 4)
    scene = _scene(random, width, height)
    grain = _grain(random, width, height)
    return _nearest(lambda strength: _develop(scene, grain, strength), size)


def _scene(random: Random, width: int, height: int) -> Image.Image:
    picture = _sky(random, width, height)
    hue = random.uniform(-0.22, 0.15)
    layers = random.randint(3, 5)
    for layer in range(layers):
        horizon = height * (0.45 + 0.5 * layer / layers)
        mask = _ridge(random, width, height, horizon, height * 0.14)
        depth = (layer + 1) / layers
        picture.paste(_hillside(random, width, height, hue, depth), mask=mask)
    return picture


def _sky(random: Random, width: int, height: int) -> Image.Image:
    hue = random.uniform(0.52, 0.66)
    top, bottom = _tint(hue, 0.65, 0.75), _tint(hue + random.uniform(0, 0.5), 0.3, 1.0)
    gradient = Image.linear_gradient("L").resize((width, height), Image.Resampling.BICUBIC)
    sky = ImageOps.colorize(gradient, top, bottom)
    clouds = _clouds(random, width, height, cells=4, octaves=4)
    cover = clouds.point([max(0, min(200, (value - 120) * 3)) for value in range(256)])
    sky.paste((250, 248, 245), mask=cover)
    radius = height // 18
    x, y = random.randrange(width), random.randrange(height // 3)
    ImageDraw.Draw(sky).ellipse((x - radius, y - radius, x + radius, y + radius), (255, 244, 214))
    return sky


def _hillside(random: Random, width: int, height: int, hue: float, depth: float) -> Image.Image:
    texture = _clouds(random, width, height, cells=24, octaves=4)
    dark = _tint(hue + 0.25, 0.35 + 0.4 * depth, 0.55 - 0.4 * depth)
    light = _tint(hue + 0.2, 0.25 + 0.35 * depth, 0.85 - 0.25 * depth)
    return ImageOps.colorize(texture, dark, light)


def _ridge(random: Random, width: int, height: int, horizon: float, rise: float) -> Image.Image:
    """A mask of everything below a ridge line, drawn by midpoint displacement."""
    line: list[float] = [horizon + random.uniform(-rise, rise) for _ in range(3)]
    last = line[-1]
    while len(line) < 257:
        rise /= 1.9
        middles: list[float] = [
            (left + right) / 2 + random.uniform(-rise, rise)
            for left, right in itertools.pairwise(line)
        ]
        line = [point for pair in zip(line, middles, strict=False) for point in pair]
        line.append(last)
    step = width / (len(line) - 1)
    points = [(index * step, y) for index, y in enumerate(line)]
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon([(0, height), *points, (width, height)], fill=255)
    return mask


def _clouds(random: Random, width: int, height: int, *, cells: int, octaves: int) -> Image.Image:
    """Value noise: random grids, each twice as fine and half as strong as the one before."""
    result = _noise(random, cells, cells).resize((width, height), Image.Resampling.BICUBIC)
    for octave in range(1, octaves):
        fine = _noise(random, cells << octave, cells << octave)
        layer = fine.resize((width, height), Image.Resampling.BILINEAR)
        result = Image.blend(result, layer, 0.5**octave / 1.5)
    return ImageOps.autocontrast(result)


def _grain(random: Random, width: int, height: int) -> Image.Image:
    channels = [_noise(random, width, height) for _ in range(3)]
    return Image.merge("RGB", channels).filter(ImageFilter.BoxBlur(0.4))


def _noise(random: Random, width: int, height: int) -> Image.Image:
    return Image.frombytes("L", (width, height), random.randbytes(width * height))


def _tint(hue: float, saturation: float, value: float) -> _Colour:
    pixel = Image.new("HSV", (1, 1), (int(hue % 1 * 255), int(saturation * 255), int(value * 255)))
    red, green, blue = pixel.convert("RGB").tobytes()
    return red, green, blue


def _develop(scene: Image.Image, grain: Image.Image, strength: float) -> bytes:
    level = [int((value - 128) * strength) + 128 for value in range(256)] * 3
    picture = ImageChops.add(scene, grain.point(level), offset=-128)
    out = BytesIO()
    picture.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _nearest(develop: Callable[[float], bytes], size: int) -> bytes:
    """Halve the range of grain strengths until the picture has the size, or tries run out."""
    low, high = 0.0, 1.0
    best = b""
    for _ in range(_MAX_TRIES):
        strength = (low + high) / 2
        picture = develop(strength)
        if abs(len(picture) - size) < abs(len(best) - size) or not best:
            best = picture
        if abs(len(best) - size) <= size * _TOLERANCE:
            break
        if len(picture) < size:
            low = strength
        else:
            high = strength
    return best
