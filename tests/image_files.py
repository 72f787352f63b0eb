"""Images for tests: sound ones of each format, and ones that someone means harm with.

Each is made when it is asked for, by Pillow or block by block.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from random import Random

from PIL import Image, ImageDraw

from coatcheck.protocol import ImageFault

Make = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class SoundImage:
    """An image that is to be decoded, and what its header says."""

    name: str
    make: Make
    media_type: str
    width: int
    height: int
    frames: int = 1


@dataclass(frozen=True, slots=True)
class BadImage:
    """One that is not to be decoded; `fault` is None where only its decoder can tell."""

    name: str
    make: Make
    fault: ImageFault | None


def drawn(width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    """Return a picture with something on it: red above, blue below, a diagonal."""
    image = Image.new("RGB", (width, height), (220, 30, 30))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, height // 2, width, height), fill=(30, 30, 220))
    pen.line((0, 0, width, height), fill=(250, 250, 250))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, latitude: float = 47.25) -> Image.Exif:
    """Return EXIF with an orientation and a place."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x8825] = {1: "N", 2: (latitude, 0.0, 0.0)}
    return tags


def animation(kind: str, count: int = 3) -> bytes:
    """Return frames that differ."""
    frames = [Image.new("RGB", (60, 40), (index * 50 + 1, 90, 200)) for index in range(count)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=40, loop=0)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, data: bytes | None = None) -> bytes:
    """Return a PNG of one bit per pixel; `chunks` come before the pixels."""
    pixels = bytes((1 + (width + 7) // 8) * height) if data is None else data
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(pixels, 1)) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + body


def gif(width: int, height: int, frames: Iterable[tuple[int, int]]) -> bytes:
    """Return a GIF whose frames have these sizes and the data of a single pixel."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    one = b"\x02\x02\x44\x01\x00"
    return (
        screen
        + b"".join(b"," + struct.pack("<HHHHB", 0, 0, *size, 0) + one for size in frames)
        + b";"
    )


def segment(marker: int, data: bytes) -> bytes:
    """Return a JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """Return a JPEG with segments after its SOI."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def _jpeg(**options: object) -> bytes:
    return saved(drawn(), "JPEG", **options)


def _polyglot() -> bytes:
    """Return a GIF that is JavaScript too: its width is the beginning of a comment."""
    image = Image.new("P", (int.from_bytes(b"/*", "little"), 2))
    return saved(image, "GIF") + b"*/=1;alert(1)"


def _xmp() -> bytes:
    return b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta exif:GPSLatitude='47,15N'/>"


SOUND = [
    SoundImage("png", lambda: saved(drawn(), "PNG"), "image/png", 60, 40),
    SoundImage("png rgba", lambda: saved(drawn(mode="RGBA"), "PNG"), "image/png", 60, 40),
    SoundImage("png palette", lambda: saved(drawn(mode="P"), "PNG"), "image/png", 60, 40),
    SoundImage("png 16 bit", lambda: saved(drawn(mode="I;16"), "PNG"), "image/png", 60, 40),
    SoundImage("png 1 bit", lambda: saved(drawn(mode="1"), "PNG"), "image/png", 60, 40),
    SoundImage("apng", lambda: animation("PNG"), "image/png", 60, 40, 3),
    SoundImage("png and zip", lambda: saved(drawn(), "PNG") + b"PK\3\4zip", "image/png", 60, 40),
    SoundImage(
        "png with php",
        lambda: png(60, 40, chunk(b"tEXt", b"Comment\0<?php system($_GET[0]); ?>")),
        "image/png",
        60,
        40,
    ),
    SoundImage("jpeg", _jpeg, "image/jpeg", 60, 40),
    SoundImage("jpeg progressive", lambda: _jpeg(progressive=True), "image/jpeg", 60, 40),
    SoundImage("jpeg grey", lambda: saved(drawn(mode="L"), "JPEG"), "image/jpeg", 60, 40),
    SoundImage("jpeg cmyk", lambda: saved(drawn(mode="CMYK"), "JPEG"), "image/jpeg", 60, 40),
    SoundImage("jpeg comment", lambda: _jpeg(comment=b"x" * 60_000), "image/jpeg", 60, 40),
    SoundImage("jpeg turned", lambda: _jpeg(exif=exif(6)), "image/jpeg", 60, 40),
    SoundImage(
        "jpeg xmp", lambda: with_segments(_jpeg(), segment(0xE1, _xmp())), "image/jpeg", 60, 40
    ),
    SoundImage("jpeg and html", lambda: _jpeg() + b"<script>1</script>", "image/jpeg", 60, 40),
    SoundImage(
        "jpeg with pdf",
        lambda: with_segments(_jpeg(), segment(0xFE, b"%PDF-1.4\n1 0 obj")),
        "image/jpeg",
        60,
        40,
    ),
    SoundImage("gif", lambda: saved(drawn(), "GIF"), "image/gif", 60, 40),
    SoundImage("gif animated", lambda: animation("GIF"), "image/gif", 60, 40, 3),
    SoundImage("gif with javascript", _polyglot, "image/gif", 10_799, 2),
    SoundImage("webp", lambda: saved(drawn(), "WEBP"), "image/webp", 60, 40),
    SoundImage(
        "webp lossless", lambda: saved(drawn(), "WEBP", lossless=True), "image/webp", 60, 40
    ),
    SoundImage("webp alpha", lambda: saved(drawn(mode="RGBA"), "WEBP"), "image/webp", 60, 40),
    SoundImage("webp exif", lambda: saved(drawn(), "WEBP", exif=exif(3)), "image/webp", 60, 40),
    SoundImage("webp animated", lambda: animation("WEBP"), "image/webp", 60, 40, 3),
]

_MIB = 1024 * 1024


@cache
def _inflating(kind: bytes, name: bytes) -> bytes:
    return png(60, 40, chunk(kind, name + b"\0\0" + zlib.compress(bytes(80 * _MIB), 1)))


def _apng(claimed: int, shown: int) -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, 60, 40, 0, 0, 1, 25, 0, 0)
    return png(
        60, 40, chunk(b"acTL", struct.pack(">II", claimed, 0)), chunk(b"fcTL", control) * shown
    )


def _bad_crc() -> bytes:
    data = bytearray(saved(drawn(), "PNG"))
    data[29] ^= 1
    return bytes(data)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


BAD = [
    BadImage("1 pixel bomb", lambda: png(12_000, 12_000), ImageFault.TOO_MANY_PIXELS),
    BadImage("2 huge header", lambda: png(60_000, 60_000, data=b""), ImageFault.SIDE_TOO_LONG),
    BadImage("3 no pixels", lambda: png(0, 0, data=b""), ImageFault.NO_PIXELS),
    BadImage("4 endless row", lambda: png(2**31 - 1, 1, data=b""), ImageFault.SIDE_TOO_LONG),
    BadImage("4 longer than png", lambda: png(2**31, 1, data=b""), ImageFault.MALFORMED),
    BadImage("5 one column", lambda: png(1, 40_000), ImageFault.SIDE_TOO_LONG),
    BadImage("6 inflating text", lambda: _inflating(b"zTXt", b"Comment"), None),
    BadImage("7 inflating profile", lambda: _inflating(b"iCCP", b"profile"), None),
    BadImage(
        "8 gif of frames",
        lambda: gif(2_000, 2_000, [(2_000, 2_000)] * 120),
        ImageFault.ANIMATION_TOO_LARGE,
    ),
    BadImage("8 gif that grows", lambda: gif(1, 1, [(30_000, 30_000)]), ImageFault.TOO_MANY_PIXELS),
    BadImage("9 apng of frames", lambda: _apng(3_000, 1), ImageFault.TOO_MANY_FRAMES),
    BadImage("9 apng that hides frames", lambda: _apng(1, 3_000), ImageFault.TOO_MANY_FRAMES),
    BadImage("10 half png", lambda: _half(saved(drawn(), "PNG")), ImageFault.TRUNCATED),
    BadImage("10 half gif", lambda: _half(saved(drawn(), "GIF")), ImageFault.TRUNCATED),
    BadImage("10 half webp", lambda: _half(saved(drawn(), "WEBP")), ImageFault.TRUNCATED),
    BadImage("11 half jpeg", lambda: _half(saved(drawn(900, 600), "JPEG", quality=95)), None),
    BadImage("11 jpeg cut in its header", lambda: _jpeg()[:300], ImageFault.TRUNCATED),
    BadImage("11 nearly whole jpeg", lambda: _jpeg()[:-12], None),
    BadImage("14 png signature", lambda: b"\x89PNG\r\n\x1a\n", ImageFault.TRUNCATED),
    BadImage("15 jpeg signature", lambda: b"\xff\xd8\xff", ImageFault.TRUNCATED),
    BadImage("15 jpeg without frame", lambda: b"\xff\xd8\xff\xd9" * 9, ImageFault.MALFORMED),
    BadImage("16 bad crc", _bad_crc, None),
    BadImage(
        "17 endless chunk",
        lambda: png(60, 40)[:33] + b"\xff\xff\xff\xffIDAT" + bytes(90),
        ImageFault.MALFORMED,
    ),
    BadImage("18 no iend", lambda: saved(drawn(), "PNG")[:-12], ImageFault.TRUNCATED),
    BadImage("18 no trailer", lambda: saved(drawn(), "GIF")[:-1], ImageFault.TRUNCATED),
    BadImage(
        "33 much exif",
        lambda: with_segments(_jpeg(), *[segment(0xE1, bytes(65_000))] * 64),
        ImageFault.TOO_MUCH_METADATA,
    ),
    BadImage(
        "png of blocks", lambda: png(60, 40, chunk(b"aaAa") * 9_000), ImageFault.TOO_FRAGMENTED
    ),
    BadImage(
        "gif of blocks",
        lambda: gif(60, 40, [(60, 40)])[:-2] + b"\x01\0\x02\0\0" * 9_000,
        ImageFault.TOO_FRAGMENTED,
    ),
    BadImage(
        "jpeg of blocks", lambda: with_segments(_jpeg(), b"\xff" * 9_000), ImageFault.TOO_FRAGMENTED
    ),
]

_SVG = b'<svg xmlns="http://www.w3.org/2000/svg">%s</svg>'
OPAQUE: list[tuple[str, bytes]] = [
    ("12 nothing", b""),
    ("13 one byte", b"\x89"),
    ("15 two bytes", b"\xff\xd8"),
    ("19 random", Random(1).randbytes(5_000)),
    ("20 text", b"this is text, whatever its name says"),
    ("22 html", b"<!doctype html><script>alert(1)</script>"),
    ("28 bmp", saved(drawn(), "BMP")),
    ("29 tiff", saved(drawn(), "TIFF")),
    ("29 ico", saved(drawn(), "ICO")),
    ("29 xpm", b'/* XPM */\nstatic char *x[] = {"1 1 1 1", "a c #ffffff", "a"};'),
    ("29 ppm", saved(drawn(), "PPM")),
    ("30 eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF"),
    ("31 svg script", _SVG % b"<script>alert(1)</script>"),
    ("31 svg entities", b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + _SVG % b"&a;"),
    ("31 svg that fetches", _SVG % b'<image href="http://127.0.0.1/"/>'),
    ("31 svg behind bom", b"\xef\xbb\xbf" + _SVG % b""),
    ("31 svg packed", b"\x1f\x8b\x08\0" + bytes(30)),
    ("riff", b"RIFF\x24\0\0\0WAVEfmt " + bytes(30)),
]


@cache
def slow_jpeg(scans: int = 3_000) -> bytes:
    """Return a small file that takes many seconds to decode: the same scan again and again."""
    whole = saved(Image.new("L", (6_000, 6_000), 128), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * scans + whole[-2:]
