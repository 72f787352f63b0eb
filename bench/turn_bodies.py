"""The requests that the bench sends: the same turn with its images inline, and as refs."""

import base64
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from coatcheck.cli.photograph import photograph

_MODEL = "bench-vision"
_QUESTION = "What do these pictures have in common? Answer in one sentence."


def photographs(count: int) -> list[bytes]:
    """Paint `count` different photographs of about 2.6 MB, on all processors."""
    with ProcessPoolExecutor(min(count, os.cpu_count() or 1)) as pool:
        return list(pool.map(photograph, range(1, count + 1)))


def inline_turn(images: Sequence[bytes]) -> bytes:
    """A chat completion request with the images as base64 data URLs."""
    return _turn([f"data:image/jpeg;base64,{base64.b64encode(one).decode()}" for one in images])


def refs_turn(refs: Sequence[str]) -> bytes:
    """The same request with a ref in place of each data URL."""
    return _turn(refs)


def text_turn(text: str = _QUESTION) -> bytes:
    """A chat completion request without images."""
    return _encode([{"type": "text", "text": text}])


def _turn(urls: Sequence[str]) -> bytes:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return _encode([{"type": "text", "text": _QUESTION}, *images])


def _encode(content: Sequence[object]) -> bytes:
    messages = [{"role": "user", "content": list(content)}]
    return json.dumps({"model": _MODEL, "messages": messages}, separators=(",", ":")).encode()
