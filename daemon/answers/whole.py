"""Whole answers: held until they are kept, since a header names them."""

from collections.abc import Sequence
from functools import partial

from coatcheck.protocol import ANSWER_HEADER, Json, JsonError, decode_json, encode_json
from coatcheck.web import ProblemError, in_thread_if, inflate

from ..parsed_request import count_values
from ..relay import Passed
from .keeping import AnswerKeeping
from .limits import AnswerLimits


class WholeAnswer:
    """Reads one answer; see `WholeReading`."""

    def __init__(self, keeping: AnswerKeeping, codings: Sequence[str]) -> None:
        self.max_bytes = keeping.limits.max_bytes
        self._keeping = keeping
        self._codings = codings

    async def read(self, body: bytes) -> Passed:
        """Put refs into the answer if they are wanted, and keep it if its turn is kept."""
        keeping, turn = self._keeping, self._keeping.turn
        value = await in_thread_if(
            len(body), partial(read_json, body, self._codings, keeping.limits)
        )
        if value is None:
            return Passed(body)
        if turn.wants_refs and await keeping.put_refs(value):
            body = await in_thread_if(len(body), partial(encode_json, value))
            is_written = True
        else:
            is_written = False
        named = await keeping.append(turn.form.read(value)) if turn.prompt else None
        return Passed(body, {ANSWER_HEADER: named} if named else {}, is_written=is_written)


def read_json(body: bytes, codings: Sequence[str], limits: AnswerLimits) -> Json:
    """Return the JSON of an answer; None where it is none, or more than is read."""
    try:
        text = inflate(body, codings, limits.max_bytes) if codings else body
        return None if count_values(text) > limits.max_values else decode_json(text)
    except (ProblemError, JsonError):
        return None
