"""Whole answers: held until they are kept, since a header names them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from coatcheck.protocol import (
    ANSWER_HEADER,
    AnswerForm,
    Digest,
    JsonError,
    ModelAnswer,
    decode_json,
)
from coatcheck.web import ProblemError, in_thread_if, inflate

Append = Callable[[ModelAnswer], Awaitable[Digest | None]]
"""Keeps an answer, and says what the prompt with it is called; None: it is not kept."""


class WholeAnswer:
    """Reads one answer; see `WholeReading`."""

    def __init__(
        self, form: AnswerForm, codings: Sequence[str], append: Append, max_bytes: int
    ) -> None:
        self.max_bytes = max_bytes
        self._form = form
        self._codings = codings
        self._append = append

    async def read(self, body: bytes) -> Mapping[str, str]:
        """Keep the answer; return the header that names it, if it is kept."""
        reading = partial(_read, self._form, body, self._codings, self.max_bytes)
        answer = await in_thread_if(len(body), reading)
        named = await self._append(answer) if answer else None
        return {ANSWER_HEADER: named} if named else {}


def _read(
    form: AnswerForm, body: bytes, codings: Sequence[str], max_bytes: int
) -> ModelAnswer | None:
    try:
        text = inflate(body, codings, max_bytes) if codings else body
        return form.read(decode_json(text))
    except (ProblemError, JsonError):
        return None
