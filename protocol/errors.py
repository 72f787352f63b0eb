"""What can be wrong with something that travels.

Every error here is the sender's fault: the same bytes sent again are refused again, so none is
retryable.
"""

from typing import ClassVar


class ProtocolError(Exception):
    """A value does not follow the protocol. `code` is stable and appears in answers."""

    code: str = "protocol_error"
    retryable: ClassVar[bool] = False


class InvalidDigestError(ProtocolError):
    """A digest is not `sha256:` and 64 lowercase hexadecimal digits."""

    code = "digest_invalid"


class InvalidRefError(ProtocolError):
    """A URI that begins like one of our refs does not continue like one."""

    code = "ref_invalid"


class PointerInvalidError(ProtocolError):
    """The first line is a pointer's, the rest is not."""

    code = "pointer_invalid"


class InvalidMediaTypeError(ProtocolError):
    """A media type is not `type/subtype` (RFC 9110 section 8.3.1)."""

    code = "media_type_invalid"


class InvalidFieldDigestError(ProtocolError):
    """A Repr-Digest or Content-Digest field cannot be read (RFC 9530 section 2)."""

    code = "digest_field_invalid"


class InvalidEndUserError(ProtocolError):
    """An end user's name is empty, too long, or holds control characters."""

    code = "end_user_invalid"

    def __init__(self, max_characters: int) -> None:
        super().__init__(
            f"an end user is named by 1 to {max_characters} characters in UTF-8, none of them a "
            "control, without spaces around them"
        )


class JsonError(ProtocolError):
    """A text is not JSON, or is JSON that two readers may understand differently."""

    code = "json_invalid"


class PromptDigestError(ProtocolError):
    """A message has no RFC 8785 form, so its list has no prompt digest."""

    code = "prompt_digest_impossible"


class MalformedRequestError(ProtocolError):
    """A request body has a wrong type or a contradiction; `path` names where, dotted."""

    code = "request_malformed"

    def __init__(self, message: str, path: str, code: str | None = None) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.code = code or type(self).code


class EnvelopeError(MalformedRequestError):
    """The `coatcheck` envelope is malformed or stands beside a message list."""

    code = "envelope_invalid"


class ContinuationError(MalformedRequestError):
    """A request says in two ways what it continues."""

    code = "mutually_exclusive_parameters"


class MalformedMessageError(MalformedRequestError):
    """A message, or a part of one, has a type that no reading of the dialect allows."""

    code = "message_malformed"


class UnknownDialectError(ProtocolError):
    """No dialect has this name."""

    code = "dialect_unknown"


class SseError(ProtocolError):
    """A server-sent event is longer than the reader was told to accept."""

    code = "event_too_long"


class AnswerError(ProtocolError):
    """A model's streamed answer is none: its events are not JSON objects, or too long."""

    code = "answer_invalid"
