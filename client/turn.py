"""One turn, in any dialect: what the server has already is not sent.

1. Attachments are refs; those that the server is missing are uploaded first.
2. The request names the longest prefix of its messages that the server is known to keep, and large
   values beside them that came with an earlier turn.
3. What the server turns out not to have, it says before anything goes upstream (404): the turn is sent
   again then, whole for a prompt or a value that is gone, after another upload for blobs. Each is done a bounded
   number of times, and nothing else is ever sent twice.
4. What cannot be shortened, or not without going upstream in other words, goes as it came.

A turn whose own new text is too large for what stands before the server stays too large: only
attachments can go before it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from coatcheck.protocol import (
    ANSWER_HEADER,
    ENVELOPE_KEY,
    KEY_HEADER,
    PROMPT_HEADER,
    TENANT_HEADER,
    USER_HEADER,
    Dialect,
    Digest,
    InvalidDigestError,
    JsonError,
    JsonObject,
    MalformedMessageError,
    Whole,
    decode_json,
    encode_json,
    put_back,
    shorten_json,
)

from .announcement import Announcements
from .blobs import NO_HEADERS, headers_for
from .errors import BlobNotFoundError, FieldNotFoundError, PromptNotFoundError
from .exchange import Exchange, Reply, Request, Work
from .known import Known
from .refusal import refusal
from .shorten import ShortBody, shorten
from .upload import Spent, forget_all, remember_all, upload_again, upload_missing

_OURS = "coatcheck-"
_SAYS_WHO = frozenset({KEY_HEADER.lower(), TENANT_HEADER.lower(), USER_HEADER.lower()})
_HEALS = 2  # uploads after a 404: what was lost, and what goes while that is uploaded


@dataclass(frozen=True, slots=True)
class Turn:
    """A request of a client's.

    `target` is its path with the query. `body` is its JSON, in which `TakenText` may stand; None where
    it has no JSON that means one thing: then `raw`, which is what came, goes on. `headers` go with the
    turn alone. `origins` are the authorities under which only the caller is known to the client. With
    `keeps_open` the successful answer is left to whoever drives, and so are streams.
    """

    dialect: Dialect
    target: str
    body: JsonObject | None
    raw: Whole | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    origins: Collection[str] = ()
    keeps_open: bool = False

    @classmethod
    def of_bytes(
        cls,
        dialect: Dialect,
        target: str,
        raw: Whole,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        origins: Collection[str] = (),
        keeps_open: bool = True,
    ) -> "Turn":
        """Read a request's body; some 1 ms a megabyte of JSON, and less of base64."""
        body = None
        try:
            value = decode_json(shorten_json(raw), keeps_taken=True)
        except JsonError:
            pass  # duplicate keys, NaN: whoever is asked says what is wrong
        else:
            body = value if isinstance(value, dict) else None
        return cls(dialect, target, body, raw, headers, origins, keeps_open)

    @property
    def speaks_for_itself(self) -> bool:
        """Whether its client knows the protocol, and is told what the server says of it."""
        names = {name.lower() for name in self.headers}
        asks = any(name.startswith(_OURS) and name not in _SAYS_WHO for name in names)
        return asks or (self.body is not None and ENVELOPE_KEY in self.body)

    @property
    def for_whom(self) -> Mapping[str, str]:
        """The headers that say whom the server takes it to be for; so its images are.

        Raises:
            InvalidEndUserError: nobody can have the name in its header.
        """
        for name, value in self.headers.items():
            if name.lower() == USER_HEADER.lower():
                return headers_for(value)
        return headers_for(self.dialect.end_user(self.body) if self.body else None)

    def request(self, body: bytes) -> Request:
        """Return the request with another body."""
        headers = {"Content-Type": "application/json", **self.headers}
        return Request("POST", self.target, headers, body, keep_open=self.keeps_open)

    def as_it_came(self) -> Request:
        """Return the request as its client sent it."""
        if self.raw is not None:
            return self.request(bytes(self.raw))
        return self.request(encode_json(put_back(self.body)))


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a turn: the head of its answer, whatever its status.

    `prompt` names the messages where the server keeps them. `announcements` read the answer's stream, if
    it is one, for what lets the answer stay there too; None where nothing was shortened.
    """

    reply: Reply
    spent: Spent
    prompt: Digest | None = None
    announcements: Announcements | None = None


def take(turn: Turn, known: Known) -> Exchange[Taken]:
    """Take a turn up to the head of its answer.

    Raises:
        ServerError: the server does not take what the turn needs uploaded.
        InvalidAnswerError, ConnectionFailedError: nothing of the turn went upstream, or nobody knows.
        InvalidEndUserError: nobody can have the name in its header.
    """
    spent = Spent()
    short = yield from Work(partial(_shorten, turn, known))
    if short is None:
        return (yield from send_as_it_came(turn, spent))
    attempt = _Attempt(turn, short, known, spent)
    yield from attempt.offer()
    while True:
        request = yield from Work(attempt.request)
        reply = yield from _send(request, spent)
        prompt = attempt.note(reply)
        if reply.status != 404 or not (yield from attempt.mend(reply)):
            announced = Announcements(known.prompts, takes_out=not turn.speaks_for_itself)
            return Taken(reply, spent, prompt, announced)
        spent.replays += 1


def send_as_it_came(turn: Turn, spent: Spent | None = None) -> Exchange[Taken]:
    """Send a turn as its client did: for one that cannot be shortened."""
    spent = spent or Spent()
    request = yield from Work(turn.as_it_came)
    reply = yield from _send(request, spent)
    return Taken(reply, spent)


def _shorten(turn: Turn, known: Known) -> ShortBody | None:
    if turn.body is None:
        return None
    try:
        return shorten(turn.body, turn.dialect, known, turn.origins)
    except MalformedMessageError:
        return None  # whoever is asked says so


def _send(request: Request, spent: Spent) -> Exchange[Reply]:
    assert isinstance(request.body, bytes)
    spent.request_bytes += len(request.body)
    return (yield from request)


class _Attempt:
    """A turn that is sent, and sent again."""

    def __init__(self, turn: Turn, short: ShortBody, known: Known, spent: Spent) -> None:
        self._turn = turn
        self._short = short
        self._known = known
        self._spent = spent
        self._named = turn.for_whom
        self._start = min(known.prompts.longest(short.digests[: short.stop]), short.stop)
        self._fields = [key for key, one in short.fields.items() if known.fields.has(one)]
        self._heals = 0

    def request(self) -> Request:
        """Return the request as it is to be sent now."""
        return self._turn.request(self._short.encode(self._start, self._fields))

    def offer(self) -> Exchange[None]:
        """Upload what the server is not known to have of what the request needs."""
        needed = self._short.needed(self._start)
        yield from upload_missing(needed, self._named, self._known, self._spent)

    def note(self, reply: Reply) -> Digest | None:
        """Learn what the server keeps: it says so also with an upstream's error."""
        short, known = self._short, self._known
        if announced := digest_at(reply, ANSWER_HEADER):
            known.prompts.remember([announced])
        named = digest_at(reply, PROMPT_HEADER)
        if named is None or not short.digests:
            return None
        known.fields.remember(short.fields.values())
        remember_all(short.inlines, self._named, known)
        if named != short.digests[-1]:
            return None  # as of a list that continues a response which the server knows by its id
        known.prompts.remember(short.digests)
        return named

    def mend(self, reply: Reply) -> Exchange[bool]:
        """Bring what a 404 says is missing; False where it is not ours to bring."""
        error = refusal(reply)
        if isinstance(error, PromptNotFoundError) and self._names_parent(error):
            self._known.prompts.forget(self._short.digests)
            forget_all(self._short.inlines, self._named, self._known)
            self._start = 0
            self._send_fields()
            yield from self.offer()
            return True
        if isinstance(error, FieldNotFoundError) and self._names_field(error):
            self._send_fields()
            return True
        if isinstance(error, BlobNotFoundError):
            return (yield from self._heal(error))
        return False

    def _send_fields(self) -> None:
        self._known.fields.forget(self._short.fields.values())
        self._fields = []

    def _names_parent(self, error: PromptNotFoundError) -> bool:
        """Whether it is ours: an upstream may have prompts that it does not find, too."""
        parent = self._short.digests[self._start - 1] if self._start else None
        return parent is not None and parent in {entry.digest for entry in error.missing}

    def _names_field(self, error: FieldNotFoundError) -> bool:
        named = {self._short.fields[key] for key in self._fields}
        return not named.isdisjoint(entry.digest for entry in error.missing)

    def _heal(self, error: BlobNotFoundError) -> Exchange[bool]:
        inlines = self._short.inlines
        at_hand = {inline.digest for inline in inlines}
        lost = {entry.digest for entry in error.missing}
        absent = [digest for digest in lost if digest is not None and digest in at_hand]
        if not absent or len(absent) < len(lost) or self._heals == _HEALS:
            return False  # sending some would not make the turn possible
        self._heals += 1
        yield from upload_again(absent, inlines, self._named, self._known, self._spent)
        return True


def digest_at(reply: Reply, header: str) -> Digest | None:
    """Return the digest in a header; None where there is none."""
    try:
        return Digest(reply.headers.get(header.lower(), ""))
    except InvalidDigestError:
        return None
