"""One turn of a conversation: the caller passes all messages, only new ones are sent; see `turn.py`."""

from collections.abc import Mapping
from dataclasses import dataclass

from coatcheck.protocol import ENVELOPE_KEY, Digest, Json, JsonObject, dialect

from .answer import ChatAnswer, answer_of
from .dehydrate import Messages, copy_object
from .errors import InvalidAnswerError, InvalidArgumentError
from .exchange import Exchange, Reply
from .known import Known
from .refusal import json_object, refusal
from .turn import Turn, take

DIALECT = "openai.chat"
PATH = "/v1/chat/completions"

_OURS = ("messages", ENVELOPE_KEY, "stream")


@dataclass(frozen=True, slots=True)
class Chat:
    """What the caller asks for: the whole conversation, and fields to send as they are."""

    model: str
    messages: Messages
    fields: Mapping[str, object]
    extra_headers: Mapping[str, str]
    is_streamed: bool = False

    def turn(self) -> Turn:
        """Return it as a turn.

        Raises:
            InvalidArgumentError: a value is not JSON, or a field is not the caller's to set.
            MalformedMessageError: a message is not the dialect's.
        """
        if not self.messages:
            raise InvalidArgumentError("there are no messages")
        for key in _OURS:
            if key in self.fields:
                hint = "call chat_stream" if key == "stream" else "see the method's arguments"
                raise InvalidArgumentError(f"{key!r} is not a field to pass: {hint}")
        messages: list[Json] = [
            copy_object(message, f"messages.{at}") for at, message in enumerate(self.messages)
        ]
        spoken = dialect(DIALECT)
        spoken.walk(messages)
        body: JsonObject = {
            "model": self.model,
            "messages": messages,
            **copy_object(self.fields, "fields"),
        }
        if self.is_streamed:
            body["stream"] = True
        return Turn(spoken, PATH, body, headers=self.extra_headers, keeps_open=self.is_streamed)


def chat(asked: Chat, known: Known) -> Exchange[ChatAnswer]:
    """Take an unstreamed turn.

    Raises:
        InvalidArgumentError: a value is not JSON, or a field is not the caller's to set.
        MalformedMessageError: a message is not the dialect's.
        BlobNotFoundError: refs in the messages do not resolve, and their bytes are not there.
        ServerError: the server or the upstream refused.
        InvalidAnswerError: what came is no answer.
    """
    prompt, reply = yield from begin(asked, known)
    return answer_of(json_object(reply), prompt)


def begin(asked: Chat, known: Known) -> Exchange[tuple[Digest | None, Reply]]:
    """Take a turn up to the head of its answer; return the kept prompt and the reply."""
    taken = yield from take(asked.turn(), known)
    if not taken.reply.is_success:
        raise refusal(taken.reply)
    if asked.is_streamed:
        kind = taken.reply.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise InvalidAnswerError(f"a stream was asked for, and {kind or 'no type'} came")
    return taken.prompt, taken.reply
