"""What `previous_response_id` does here: a request is joined to the list that its response ended.

The upstream gets all of the input, compactly written and each time alike, and no id. What a response
answered is kept behind the list that it was asked with, and named by its id, before the client sees
the answer's end: whoever has the id can continue it, on every daemon of the store.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from coatcheck.protocol import (
    Dialect,
    Digest,
    Json,
    MalformedRequestError,
    continued,
    decode_json,
    is_response_id,
    is_stored,
    previous_response,
    prompt_root,
)

from ..errors import (
    DaemonError,
    PreviousResponseNotFoundError,
    PromptNotFoundError,
    RequestRefusedError,
)
from ..meters import Meters
from ..parsed_request import ParsedRequest
from ..source import PromptSource
from ..upstream import UpstreamConfig
from .source import NamedResponse, ResponseSource

_log = logging.getLogger(__name__)
_DIALECT = "openai.responses"


@dataclass(frozen=True, slots=True)
class Continued:
    """A request whose list is found, as one that continues it by an envelope.

    `response_id` is what it named; None: it continues nothing, and is as it came.
    """

    request: ParsedRequest
    response_id: str | None = None

    @contextmanager
    def naming(self) -> Generator[None]:
        """Surround expanding it: a list that is gone is a response that is not found."""
        try:
            yield
        except PromptNotFoundError as error:
            if self.response_id is None:
                raise
            raise PreviousResponseNotFoundError(self.response_id) from error


@dataclass(frozen=True, slots=True)
class NamedTurn:
    """Whose turn was answered, by which upstream, and whom it was for."""

    tenant: str
    upstream: str
    end_user: str | None


class History:
    """Continues requests, and keeps what was answered. Owns nothing."""

    def __init__(
        self, prompts: PromptSource, responses: ResponseSource | None, meters: Meters
    ) -> None:
        """Without `responses` no upstream leaves its history to us."""
        self._prompts = prompts
        self._responses = responses
        self._meters = meters

    @staticmethod
    def keeps(parsed: ParsedRequest, dialect: Dialect, upstream: UpstreamConfig) -> bool:
        """Whether a later request may continue the answer to this one by its id."""
        return History.serves(dialect, upstream) and is_stored(parsed.body)

    @staticmethod
    def serves(dialect: Dialect, upstream: UpstreamConfig) -> bool:
        """Whether ids of responses are ours to know."""
        return upstream.history == "coatcheck" and dialect.name == _DIALECT

    async def continued(
        self, parsed: ParsedRequest, tenant: str, dialect: Dialect, upstream: UpstreamConfig
    ) -> Continued:
        """Return a request joined to what it continues; one that continues nothing as it is.

        So is one whose ids of responses are its upstream's to know.

        Raises:
            PreviousResponseNotFoundError: the tenant has no such response.
            PromptNotFoundError: the parent of its own envelope is not kept.
            RequestRefusedError: it names a response and a conversation, or no id.
            StoreUnavailableError: the store is away.
        """
        if not History.serves(dialect, upstream):
            return Continued(parsed)
        try:
            response_id = previous_response(parsed.body)
        except MalformedRequestError as error:
            raise RequestRefusedError(str(error), error.code, error.path) from error
        if response_id is None:
            return Continued(parsed)
        named = await self._find(tenant, response_id)
        if named is None or named.dialect != dialect.name:
            self._meters.response("not_found")
            raise PreviousResponseNotFoundError(response_id)
        self._meters.response("found")
        whole = parsed.put_back()
        append = await self._appended(whole, tenant, dialect)
        body, envelope = continued(
            whole.body, named.prompt, append, dialect.messages_key, whole.envelope
        )
        return Continued(replace(whole, body=body, envelope=envelope), response_id)

    async def name(
        self,
        turn: NamedTurn,
        response_id: str,
        prompt: Digest,
        answered: int,
    ) -> None:
        """Let the id of a response name the kept list that ends with its answer. May be repeated.

        Where it cannot, which is logged, the id stays unknown.
        """
        if not is_response_id(response_id):
            _log.warning("response not kept: its id is not one that is kept")
            self._meters.response("refused")
            return
        assert self._responses is not None
        named = NamedResponse(_DIALECT, prompt, answered, turn.upstream)
        try:
            await self._responses.put(turn.tenant, response_id, named, end_user=turn.end_user)
        except DaemonError as error:
            _log.warning("response not kept: %s", error)
            self._meters.response("refused")
        else:
            self._meters.response("kept")

    async def _find(self, tenant: str, response_id: str) -> NamedResponse | None:
        assert self._responses is not None
        return (
            await self._responses.find(tenant, response_id) if is_response_id(response_id) else None
        )

    async def _appended(self, parsed: ParsedRequest, tenant: str, dialect: Dialect) -> list[Json]:
        """Return the request's own messages, of which an envelope may name the first."""
        envelope = parsed.envelope
        if envelope is None:
            return _listed(parsed, dialect)
        if envelope.parent is None or envelope.parent == prompt_root(dialect.name):
            return envelope.append
        texts = await self._prompts.expand(tenant, dialect.name, envelope.parent)
        if texts is None:
            raise PromptNotFoundError(envelope.parent)
        before = decode_json(f"[{','.join(texts)}]")
        assert isinstance(before, list)
        return [*before, *envelope.append]


def _listed(parsed: ParsedRequest, dialect: Dialect) -> list[Json]:
    key = dialect.messages_key
    value = parsed.body.get(key)
    if value is None:
        return []  # nothing new is asked
    messages = dialect.list_messages(value)
    if messages is None:
        raise RequestRefusedError("a string or a list is required", "message_malformed", key)
    return messages
