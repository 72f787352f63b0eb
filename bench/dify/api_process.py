"""Dify's API in a process of its own: `python -m bench.dify.api_process`.

Reads what it is on one line, then a turn a line, and says what came of each. As Dify's memory does, it
reads and encodes the images of all messages in every turn, once for both requests: the tokens of the
history, then the turn. With a store it puts each image once and sends refs, as `RefFileRuntime` does.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.dify.api_client import Answer, ApiClient, DaemonError
from tests.dify.prompt import Picture, assistant, image, invocation, user

from coatcheck.client import Client
from coatcheck.protocol import JsonObject

from .. import proc
from .api import TURN, Facts, Role, Said


class _Images:
    """Makes contents of images; knows the refs of those that it has put."""

    def __init__(self, store: Client | None) -> None:
        self._store = store
        self._refs: dict[str, str] = {}

    def content(self, path: str) -> JsonObject:
        """Return an image's content, as base64 or with a ref."""
        name = Path(path).name
        if self._store is None:
            return image(Picture(Path(path).read_bytes(), name))
        if path not in self._refs:
            self._refs[path] = self._store.put(Path(path)).ref
        return image(Picture(b"", name), self._refs[path])


def _messages(turns: Sequence[Said], images: _Images) -> list[JsonObject]:
    messages: list[JsonObject] = []
    for turn in turns:
        messages.append(user(turn.text, *map(images.content, turn.images)))
        if turn.answer is not None:
            messages.append(assistant(turn.answer))
    return messages


def _take(turns: Sequence[Said], role: Role, api: ApiClient, images: _Images) -> Facts:
    cpu, wall = time.process_time(), time.perf_counter()
    messages = _messages(turns, images)
    counted = Answer()
    if history := messages[:-1]:
        api.count_tokens(invocation(role.model_url, history), answer=counted)
    answer = api.invoke(invocation(role.model_url, messages))
    return Facts(
        seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        peak_rss_bytes=proc.peak_bytes(os.getpid()),
        request_bytes=answer.request_bytes,
        response_bytes=answer.response_bytes,
        counting_bytes=counted.request_bytes + counted.response_bytes,
        text=answer.text,
    )


def main() -> None:
    """Take turns until standard input ends."""
    role = Role.model_validate_json(sys.stdin.readline())
    store = Client(role.store) if role.store else None
    images = _Images(store)
    try:
        with ApiClient(role.url, role.key, role.plugin_id) as api:
            for line in sys.stdin:
                turns = TURN.validate_json(line)
                try:
                    facts = _take(turns, role, api, images)
                except DaemonError as error:
                    facts = Facts(error=str(error))
                print(facts.model_dump_json(), flush=True)
    finally:
        if store is not None:
            store.close()


if __name__ == "__main__":
    main()
