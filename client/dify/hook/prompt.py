"""The refs in what Dify asks, its copy with base64 in their place, and answers without an echo."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any


__all__ = ["REF", "filled", "places", "unechoed"]

REF = "blob:sha256:"


def _ref(part: Any) -> str | None:
    """Return the ref in a part of a message, well formed or not."""
    url = getattr(part, "url", None)
    if isinstance(url, str) and url[:256].lstrip()[: len(REF)].lower() == REF:
        return url
    return None


def places(data: Any) -> Iterator[tuple[str, str]]:
    """Yield each ref, and the path to it in what Dify sent."""
    for number, message in enumerate(getattr(data, "prompt_messages", None) or ()):
        if isinstance(message.content, list):
            for index, part in enumerate(message.content):
                ref = _ref(part)
                if ref is not None:
                    yield ref, f"data.prompt_messages.{number}.content.{index}.url"


def filled(data: Any, texts: dict[str, str]) -> Any:
    """Return a copy with base64 for its refs. Messages without any are shared."""

    def part_of(part: Any) -> Any:
        ref = _ref(part)
        if ref is None:
            return part
        return part.model_copy(update={"url": "", "base64_data": texts[ref]})

    def message_of(message: Any) -> Any:
        if not isinstance(message.content, list) or all(_ref(p) is None for p in message.content):
            return message
        return message.model_copy(update={"content": [part_of(part) for part in message.content]})

    messages = [message_of(message) for message in data.prompt_messages]
    return data.model_copy(update={"prompt_messages": messages})


def unechoed(answer: Any) -> Any:
    """Return an answer that repeats no prompt message; a stream stays a stream."""
    if hasattr(answer, "send"):
        return _unechoed_stream(answer)
    if getattr(answer, "prompt_messages", None):
        return answer.model_copy(update={"prompt_messages": []})
    return answer


def _unechoed_stream(chunks: Generator[Any, None, Any]) -> Generator[Any, None, None]:
    try:
        for chunk in chunks:
            yield unechoed(chunk)
    finally:
        chunks.close()
