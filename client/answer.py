"""A model's answer, whole or put together from the chunks of a stream."""

from collections.abc import Iterator
from dataclasses import dataclass

from coatcheck.protocol import (
    ANSWER_FORMS,
    AnswerError,
    AnswerStream,
    ChatParts,
    Digest,
    JsonObject,
)

from .errors import InvalidAnswerError, StreamBrokenError, StreamError
from .refusal import error_told

_FORM = ANSWER_FORMS["openai.chat"]


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What came of a turn.

    `message` is the first choice in its plainest form, the role, the content and the tool calls:
    append it to the messages of the next turn as it is, and it is not sent again. `text` is its
    content, empty where it has none. `prompt` names the messages that were sent, None where the
    server does not keep them. `body` is the whole answer.
    """

    text: str
    message: JsonObject
    prompt: Digest | None
    body: JsonObject


def answer_of(body: JsonObject, prompt: Digest | None) -> ChatAnswer:
    """Read the answer to an unstreamed turn.

    Raises:
        InvalidAnswerError: it has no choice with a message.
    """
    answer = _FORM.read(body)
    if answer is None:
        raise InvalidAnswerError("the answer has no choice with a message")
    empty: JsonObject = {"role": "assistant", "content": None}
    message = next((each for each in answer.messages if isinstance(each, dict)), empty)
    content = message["content"]
    return ChatAnswer(content if isinstance(content, str) else "", message, prompt, body)


class Assembly:
    """Turns a stream's bytes into chunks, and its chunks into the message.

    Feed it until the bytes end, then call `end`. `message` and `text` say what came so far.
    """

    def __init__(self) -> None:
        self._parts = ChatParts()
        self._stream = AnswerStream(self._parts)

    @property
    def announced(self) -> Digest | None:
        """What the server calls the list with this answer."""
        return self._stream.announced

    @property
    def is_done(self) -> bool:
        """Whether the stream said that it was done."""
        return self._stream.is_ended

    def feed(self, data: bytes) -> Iterator[JsonObject]:
        """Take the next bytes; yield the chunks that they complete, each once it is counted in.

        Raises:
            StreamError: the stream ended in an error event.
            InvalidAnswerError: an event is no chunk.
        """
        try:
            yield from self._stream.feed(data)
        except AnswerError as error:
            raise InvalidAnswerError(str(error)) from error
        if self._stream.failure is not None:
            raise _stream_error(self._stream.failure)

    def end(self) -> None:
        """Learn that no more bytes come.

        Raises:
            StreamBrokenError: the stream did not say that it was done.
        """
        if not self.is_done:
            raise StreamBrokenError("the stream stopped before its end")

    @property
    def text(self) -> str:
        """The text so far."""
        return self._parts.text

    @property
    def message(self) -> JsonObject:
        """The first choice's message so far, in its plainest form."""
        return self._parts.message


def _stream_error(chunk: JsonObject) -> StreamError:
    told = error_told(chunk)
    code, message = told.get("code"), told.get("message")
    return StreamError(
        200,
        code if isinstance(code, str) else None,
        message if isinstance(message, str) else "the stream ended in an error",
    )
