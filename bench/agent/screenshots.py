"""Screenshots of a desktop, made from a seed: windows, text, and a picture that is being looked at.

The picture is grain, which no coder makes smaller, so its area sets what a screenshot weighs. Every
third one is a JPEG, the others are PNG.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

from .words import words

SCREENSHOT_BYTES = 1_165_000
"""What a desktop of 1600 x 1000 pixels weighs with a photograph on it."""

_SHAPE = 16 / 10
_JPEG_BYTES_PER_PIXEL = 0.8  # of grain, at the quality below
_JPEG_QUALITY = 85


def screenshot(size: int, seed: int) -> tuple[bytes, str]:
    """Return a screenshot of about `size` bytes, and how its file ends: `png` or `jpg`.

    The same seed and size give the same bytes with the same Pillow.
    """
    random = Random(f"screenshot {seed}")
    is_jpeg = seed % 3 == 2
    area = size / (_JPEG_BYTES_PER_PIXEL if is_jpeg else 3)
    side = max(8, round(area**0.5))
    height = side + 120
    desktop = Image.new("RGB", (round(height * _SHAPE), height), _colour(random))
    _write_windows(ImageDraw.Draw(desktop), random, desktop.width, height)
    grain = Image.frombytes("RGB", (side, side), random.randbytes(side * side * 3))
    desktop.paste(grain, (random.randrange(desktop.width - side), 60))
    out = BytesIO()
    if is_jpeg:
        desktop.save(out, "JPEG", quality=_JPEG_QUALITY)
        return out.getvalue(), "jpg"
    desktop.save(out, "PNG", compress_level=1)
    return out.getvalue(), "png"


def save_screenshots(folder: Path, count: int, size: int = SCREENSHOT_BYTES) -> list[Path]:
    """Write different screenshots into a folder, on all processors; return their files in order."""
    with ProcessPoolExecutor(min(count, os.cpu_count() or 1)) as pool:
        made = pool.map(partial(screenshot, size), range(count), chunksize=4)
        return [_save(folder, number, *shot) for number, shot in enumerate(made)]


def _save(folder: Path, number: int, data: bytes, ending: str) -> Path:
    file = folder / f"screenshot-{number:03}.{ending}"
    file.write_bytes(data)
    return file


def total_bytes(files: Sequence[Path]) -> int:
    """Return what distinct files weigh together."""
    return sum(file.stat().st_size for file in files)


def _write_windows(draw: ImageDraw.ImageDraw, random: Random, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, 28), (32, 34, 40))
    draw.text((8, 8), words(random, 8), (220, 220, 220))
    for _ in range(4):
        left, top = random.randrange(width // 2), 40 + random.randrange(height // 2)
        draw.rectangle((left, top, left + width // 3, top + height // 3), (248, 248, 246))
        for line in range(top + 6, top + height // 3 - 12, 14):
            draw.text((left + 8, line), words(random, 6), (20, 20, 30))


def _colour(random: Random) -> tuple[int, int, int]:
    return random.randrange(60), random.randrange(60, 120), random.randrange(90, 160)
