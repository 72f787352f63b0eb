"""The worker itself: `python -m coatcheck.store.images.child LIMITS`, started by `WorkerProcess`.

It answers one question after another until its input ends. Whatever an image makes Pillow raise is an
answer too; an image that ends the process ends nothing else.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from io import BytesIO
from typing import BinaryIO

from PIL import Image
from pydantic import BaseModel

from ..errors import ImageRefusal, ImageRefusedError
from . import decode
from .confine import allow_cpu, confine
from .wire import LENGTH, Question, Ready, Refused, VariantSpec, WorkerLimits, write_message

# Decoders register when they are imported; Pillow would search for others if one were not there.
_PLUGINS = ("Gif", "Jpeg", "Mpo", "Png", "WebP", "Tiff")
_SMALL_SPEC = VariantSpec(max_width=4, max_height=4)


def main() -> None:
    """Serve standard input with the limits in the first argument."""
    limits = WorkerLimits.model_validate_json(sys.argv[1])
    warm_up(limits)
    confine(limits)
    warnings.simplefilter("error")
    Image.MAX_IMAGE_PIXELS = limits.budgets.max_pixels
    begin = partial(allow_cpu, limits.cpu_seconds)
    serve(sys.stdin.buffer, sys.stdout.buffer, limits, begin)


def warm_up(limits: WorkerLimits) -> None:
    """Decode and encode every format once, so that all code is loaded while files can be opened."""
    for name in _PLUGINS:
        import_module(f"PIL.{name}ImagePlugin")
    for kind in ("GIF", "JPEG", "PNG", "WEBP"):
        file, tags = BytesIO(), Image.Exif()
        tags[0x0112] = 6
        Image.new("RGB", (8, 8)).save(file, kind, exif=tags)
        decode.glance(file.getvalue(), limits.budgets)
        for media_type in ("image/jpeg", "image/png", "image/webp"):
            spec = _SMALL_SPEC.model_copy(update={"media_type": media_type})
            decode.variant(file.getvalue(), limits.budgets, spec)


def serve(
    questions: BinaryIO, answers: BinaryIO, limits: WorkerLimits, begin: Callable[[], None]
) -> None:
    """Answer until `questions` ends; `begin` is called before each image is decoded."""
    answers.write(write_message(Ready()))
    answers.flush()
    while head := questions.read(LENGTH.size):
        question = Question.model_validate_json(questions.read(*LENGTH.unpack(head)))
        image = questions.read(question.size_bytes)
        if len(image) < question.size_bytes:
            return
        begin()
        answer, data = reply(question, image, limits)
        answers.write(write_message(answer))
        answers.write(data)
        answers.flush()


def reply(question: Question, image: bytes, limits: WorkerLimits) -> tuple[BaseModel, bytes]:
    """Return an answer, and the bytes that follow it."""
    try:
        if question.spec is None:
            return decode.glance(image, limits.budgets), b""
        return decode.variant(image, limits.budgets, question.spec)
    except ImageRefusedError as error:
        return Refused(refusal=error.refusal, message=str(error)), b""
    except MemoryError:
        message = "the image needs too much memory to be decoded"
        return Refused(refusal=ImageRefusal.TOO_LARGE, message=message), b""
    except Exception:  # noqa: BLE001  # decoders raise what they like on what strangers sent
        return Refused(refusal=ImageRefusal.BROKEN, message="the image does not decode"), b""


if __name__ == "__main__":
    main()
