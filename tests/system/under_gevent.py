"""A program under gevent, run by `test_gevent.py`: one client, two greenlets at the same time.

Its argument is the server's URL. It prints what both did, as JSON.
"""

from gevent import monkey  # type: ignore[import-untyped]  # it comes without types

monkey.patch_all()

import io
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from PIL import Image

from coatcheck import Client

PATIENCE_SECONDS = 20


def talk(client: Client, both: threading.Barrier, data: bytes) -> dict[str, str]:
    """Put, meet the other greenlet in the middle of that, then ask."""

    def meet(sent: int, total: int) -> None:
        if sent == total:
            both.wait(PATIENCE_SECONDS)

    descriptor = client.put(data, progress=meet)
    part = {"type": "image_url", "image_url": {"url": descriptor.ref}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]
    whole = client.chat(model="echo", messages=messages)
    with client.chat_stream(model="echo", messages=messages) as stream:
        for _ in stream:
            pass
    assert stream.text == whole.text
    assert client.get(descriptor) == data
    return {"digest": descriptor.digest, "said": stream.text}


def png(width: int) -> bytes:
    """Return a picture of that width."""
    file = io.BytesIO()
    Image.effect_noise((width, 200), 50).save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Run both and print. Patched, threads are greenlets of this one thread."""
    with Client(sys.argv[1]) as client, ThreadPoolExecutor(2) as greenlets:
        talks = greenlets.map(partial(talk, client, threading.Barrier(2)), [png(300), png(400)])
        print(json.dumps(list(talks)))


main()
