"""An answer whose body has been looked at, and that still gives all of it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from coatcheck.protocol import Json, JsonError, decode_json
from coatcheck.web import ProblemError, inflate, parse_codings

from .upstream import Answer

_MAX_BYTES = 64 * 1024  # of an error: some repeat what they were given


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that may be an error: its status and body, decoded.

    `body` is None where it is no JSON, or longer than errors are.
    """

    status: int
    text: str
    body: Json


async def peek(answer: Answer) -> "Peeked":
    """Read an answer that may be a refusal, up to the length that errors have.

    Raises:
        UpstreamError: it broke off, or was too slow.
    """
    chunks = answer.chunks()
    head: list[bytes] = []
    size = 0
    while size <= _MAX_BYTES and (chunk := await anext(chunks, None)) is not None:
        head.append(chunk)
        size += len(chunk)
    return Peeked(answer, b"".join(head), chunks, is_whole=size <= _MAX_BYTES)


class Peeked:
    """An answer, and the beginning of its body."""

    def __init__(
        self, answer: Answer, head: bytes, rest: AsyncGenerator[bytes], *, is_whole: bool
    ) -> None:
        """With `is_whole` there is no rest."""
        self._answer = answer
        self._head = head
        self._rest = rest
        self._is_whole = is_whole

    @property
    def status(self) -> int:
        """As the answer's."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """As the answer's."""
        return self._answer.headers

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body; see `Answer.chunks`."""
        async with aclosing(self._rest) as rest:
            if self._head:
                yield self._head
            async for chunk in rest:
                yield chunk

    async def close(self) -> None:
        """Let go of the rest, where nobody reads it."""
        await self._rest.aclose()

    @property
    def refusal(self) -> Refusal:
        """What it says, decoded."""
        text = self._decoded() if self._is_whole else b""
        return Refusal(self.status, text.decode("utf-8", "replace"), _json(text))

    def _decoded(self) -> bytes:
        """Return the body without its content coding; empty where that is not to be undone."""
        try:
            codings = parse_codings(self.headers.get("Content-Encoding", ""))
            return inflate(self._head, codings, _MAX_BYTES) if codings else self._head
        except ProblemError:
            return b""


def _json(text: bytes) -> Json:
    try:
        return decode_json(text)
    except JsonError:
        return None
