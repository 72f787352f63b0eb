"""What the daemon measures of itself; whoever runs it decides what becomes of the numbers.

Every call returns at once and never raises. Names of upstreams come from the settings, outcomes are
statuses and error codes, so that the numbers stay few. What is counted elsewhere, such as the uses
of the cache, is read there.
"""

from typing import Literal, Protocol

from coatcheck.protocol import PrefixOutcome

PromptOutcome = Literal["kept", "refused", "not_found"]
AnswerOutcome = Literal["kept", "refused"]
FieldOutcome = Literal["kept", "refused", "found", "not_found"]
ResponseOutcome = Literal["kept", "refused", "found", "not_found"]
VariantOutcome = Literal["found", "made", "kept", "failed"]
ReplicaChoice = Literal["own", "spilled", "other", "any", "unconnected"]
ReuseOutcome = Literal["found", "uploaded", "failed", "recovered"]
ResolveStep = Literal["grants", "bytes"]


class Meters(Protocol):
    """Takes measures. Seconds are of a monotonic clock, bytes are of bodies."""

    def resolved(self, step: ResolveStep, seconds: float) -> None:
        """One turn's digests took a step: `grants`, who holds what; `bytes`, bring them here."""
        ...

    def first_byte(self, upstream: str, seconds: float) -> None:
        """An upstream's answer began, so long after the request was begun."""
        ...

    def replica(self, upstream: str, index: int, choice: ReplicaChoice) -> None:
        """One of an upstream's replicas, by its place in the settings, took a request: since it is the
        conversation's `own`, since another one had `spilled` it, since the `other` ones are left out,
        or as `any` might. Or it took no connection: `unconnected`."""
        ...

    def answered(self, upstream: str, outcome: str, seconds: float) -> None:
        """An upstream's answer ended: `outcome` is its status, or the code of the error."""
        ...

    def upstream_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        """Bytes went to an upstream, or came."""
        ...

    def store_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        """Bytes of blobs, or passed through, went to a remote store, or came."""
        ...

    def saved(self, size: int) -> None:
        """A turn was so much shorter on the client's side than what stands for it upstream."""
        ...

    def edge(self, uploads: int, upload_bytes: int, replays: int) -> None:
        """A turn went to a remote: so many blobs were uploaded for it, and so often it was sent again."""
        ...

    def variant(self, outcome: VariantOutcome, seconds: float = 0.0) -> None:
        """An image met an upstream's policy: a variant was `found`, or `made` in so long; the original
        was `kept` for what it is, or sent since none could be made now: `failed`."""
        ...

    def reused(self, mode: str, outcome: ReuseOutcome, spared: int = 0) -> None:
        """A blob met an upstream's reuse mode: a name of it was `found` to stand for so many bytes, or
        they were `uploaded`; that `failed`, and they went inline; or a turn `recovered` from a refusal."""
        ...

    def prompt(self, outcome: PromptOutcome) -> None:
        """A prompt was kept, could not be, or was asked for and is not there."""
        ...

    def answer(self, outcome: AnswerOutcome) -> None:
        """The answer to a prompt that is kept was kept with it, or could not be in time."""
        ...

    def field(self, outcome: FieldOutcome) -> None:
        """A large value was kept, could not be, or was named by its digest and found or not."""
        ...

    def response(self, outcome: ResponseOutcome) -> None:
        """A response was kept by its id, could not be, or was named by it and found or not."""
        ...

    def prefix(self, upstream: str, outcome: PrefixOutcome) -> None:
        """A turn was compared with the one before it in its conversation."""
        ...

    def observed(self, *, is_dropped: bool) -> None:
        """A request was observed; its body was dropped where there was no room or time for it."""
        ...


class NoMeters:
    """Meters that nobody reads."""

    def resolved(self, step: ResolveStep, seconds: float) -> None: ...

    def first_byte(self, upstream: str, seconds: float) -> None: ...

    def replica(self, upstream: str, index: int, choice: ReplicaChoice) -> None: ...

    def answered(self, upstream: str, outcome: str, seconds: float) -> None: ...

    def upstream_bytes(self, *, sent: int = 0, received: int = 0) -> None: ...

    def store_bytes(self, *, sent: int = 0, received: int = 0) -> None: ...

    def saved(self, size: int) -> None: ...

    def edge(self, uploads: int, upload_bytes: int, replays: int) -> None: ...

    def variant(self, outcome: VariantOutcome, seconds: float = 0.0) -> None: ...

    def reused(self, mode: str, outcome: ReuseOutcome, spared: int = 0) -> None: ...

    def prompt(self, outcome: PromptOutcome) -> None: ...

    def answer(self, outcome: AnswerOutcome) -> None: ...

    def field(self, outcome: FieldOutcome) -> None: ...

    def response(self, outcome: ResponseOutcome) -> None: ...

    def prefix(self, upstream: str, outcome: PrefixOutcome) -> None: ...

    def observed(self, *, is_dropped: bool) -> None: ...
