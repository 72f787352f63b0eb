"""The rules of `previous_response_id`: what it stands for, and what a response is kept by.

The input of the response that it names, the items of its answer, and the request's own input, in this
order, are the list that the model sees. Instructions are not carried over, nor anything else beside the
list. Source: the doc strings of `responses.create` in the `openai` package, version 3.
"""

from .digest import Digest
from .envelope import ENVELOPE_KEY, Envelope
from .errors import ContinuationError, MalformedRequestError
from .json_value import Json, JsonObject

PREVIOUS_RESPONSE_KEY = "previous_response_id"

_CONVERSATION = "conversation"


def previous_response(body: JsonObject) -> str | None:
    """Return the id of the response that a request continues; None where it continues none.

    Raises:
        MalformedRequestError: it is no string.
        ContinuationError: it stands beside a conversation.
    """
    named = body.get(PREVIOUS_RESPONSE_KEY)
    if named is None:
        return None
    if not isinstance(named, str):
        raise MalformedRequestError("an id is a string", PREVIOUS_RESPONSE_KEY)
    if body.get(_CONVERSATION) is not None:
        raise ContinuationError(
            "a request continues a response or a conversation, not both", PREVIOUS_RESPONSE_KEY
        )
    return named


def is_stored(body: JsonObject) -> bool:
    """Whether a later request may continue the answer to this one.

    `store` is true unless it is said to be false. What belongs to a conversation continues that.
    """
    return body.get("store") is not False and body.get(_CONVERSATION) is None


def continued(
    body: JsonObject,
    parent: Digest,
    append: list[Json],
    messages_key: str,
    envelope: Envelope | None,
) -> tuple[JsonObject, Envelope]:
    """Return a body that continues `parent` by `append` with an envelope, and that envelope.

    It takes the place of the message list, or of the body's own `envelope`, of which the fields stay.
    """
    named = Envelope(parent, append, envelope.fields if envelope else {})
    places = (ENVELOPE_KEY, messages_key, PREVIOUS_RESPONSE_KEY)
    place = next(key for key in places if key in body)
    return {
        ENVELOPE_KEY if key == place else key: named.to_json() if key == place else value
        for key, value in body.items()
        if key == place or key not in places
    }, named
