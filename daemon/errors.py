"""What can go wrong between a client and its upstream, each with the problem it becomes.

`problem` is what the client is told; the gateway puts it into the dialect's own error shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from coatcheck.protocol import ENVELOPE_KEY, Digest, Json, Problem, field_path


class DaemonError(Exception):
    """A turn that cannot be served. `problem` says why, and whether a resend can help."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "daemon_error"
    title: ClassVar[str] = "The request could not be served"
    retryable: ClassVar[bool] = False
    retry_after_seconds: ClassVar[int | None] = None

    @property
    def problem(self) -> Problem:
        """The error as a value."""
        return Problem(
            self.status,
            self.code,
            self.title,
            str(self),
            self.extensions,
            self.retryable,
            self.retry_after_seconds,
        )

    @property
    def extensions(self) -> Mapping[str, Json]:
        """What a program needs to mend its request."""
        return {}


class RequestRefusedError(DaemonError):
    """The client's request is malformed; `path` says where."""

    status = 400
    code = "request_malformed"
    title = "The request is malformed"

    def __init__(self, message: str, code: str, path: str = "") -> None:
        super().__init__(message)
        self._code, self._path = code, path

    @property
    def problem(self) -> Problem:
        return Problem(400, self._code, self.title, str(self), self.extensions)

    @property
    def extensions(self) -> Mapping[str, Json]:
        return {"path": self._path} if self._path else {}


class FileUrlRefusedError(RequestRefusedError):
    """A client names a file of the host's, where an engine would read whichever it is."""

    code = "file_url_refused"

    def __init__(self, path: str) -> None:
        super().__init__("a file is named by a ref, not by its path", self.code, path)


class FileListRefusedError(DaemonError):
    """A provider's list of files has those of all tenants, where they share the upstream's key."""

    status = 403
    code = "file_list_refused"
    title = "The list is not one tenant's"


class UnknownIdError(RequestRefusedError):
    """The request names something that the built-in upstream does not have: it keeps nothing."""

    title = "Nothing has this id"

    def __init__(self, message: str, code: str, path: str, status: int = 404) -> None:
        super().__init__(message, code, path)
        self._status = status

    @property
    def problem(self) -> Problem:
        return replace(super().problem, status=self._status)


class TooLargeError(DaemonError):
    """The request asks for more than a limit allows; `limit` has the limit by its name."""

    status = 413
    title = "The request is too large"

    def __init__(self, what: str, code: str, **limit: int) -> None:
        super().__init__(f"{what}: at most {', '.join(map(str, limit.values()))}")
        self._code, self._limit = code, limit

    @property
    def problem(self) -> Problem:
        return Problem(413, self._code, self.title, str(self), self.extensions)

    @property
    def extensions(self) -> Mapping[str, Json]:
        return dict[str, Json](self._limit)


class ModelNotFoundError(DaemonError):
    """No upstream of this dialect serves the model."""

    status = 404
    code = "model_not_found"
    title = "No upstream serves this model"


class UpstreamNotFoundError(DaemonError):
    """No upstream of this provider is configured; the built-in echo takes only turns."""

    status = 404
    code = "upstream_not_found"
    title = "No upstream of this provider is configured"


class BlobsNotFoundError(DaemonError):
    """The client names blobs that its tenant holds no grant for; `missing` lists all of them."""

    status = 404
    code = "blob_not_found"
    title = "Blobs are missing"

    def __init__(self, missing: Sequence[Mapping[str, str]]) -> None:
        names = ", ".join(entry.get("digest") or entry["file_id"] for entry in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        super().__init__(f"not held here: {names}{more}; upload, then send the request again")
        self.missing = missing

    @property
    def extensions(self) -> Mapping[str, Json]:
        return {"missing": [dict[str, Json](entry) for entry in self.missing]}


class PreviousResponseNotFoundError(DaemonError):
    """The request continues a response that is not kept here, or not for this tenant."""

    status = 400
    code = "previous_response_not_found"
    title = "The previous response is not kept here"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Previous response with id '{response_id[:120]}' not found.")

    @property
    def extensions(self) -> Mapping[str, Json]:
        return {"path": "previous_response_id"}


class FieldsNotFoundError(DaemonError):
    """The envelope names values by digest that are not kept here; send them whole.

    `missing` lists what else the request names and is missing.
    """

    status = 404
    code = "field_not_found"
    title = "Fields are not kept here"

    def __init__(
        self, fields: Mapping[str, Digest], missing: Sequence[Mapping[str, str]] = ()
    ) -> None:
        super().__init__(f"not kept: {', '.join(fields)[:200]}; send them in full")
        self._missing = [*missing_fields(fields), *missing]

    @property
    def extensions(self) -> Mapping[str, Json]:
        return {"missing": [dict[str, Json](entry) for entry in self._missing]}


class PromptNotFoundError(DaemonError):
    """The envelope continues a prompt that is not kept here; send the whole list.

    `missing` lists the fields that are not kept either.
    """

    status = 404
    code = "prompt_not_found"
    title = "The parent prompt is not kept here"

    def __init__(self, parent: Digest, fields: Mapping[str, Digest] | None = None) -> None:
        super().__init__(f"no prompt {parent} is kept; send the whole message list")
        self._parent = parent
        self._fields = fields or {}

    @property
    def extensions(self) -> Mapping[str, Json]:
        path = f"{ENVELOPE_KEY}.parent"
        missing = [{"digest": str(self._parent), "path": path}, *missing_fields(self._fields)]
        return {"path": path, "missing": [dict[str, Json](entry) for entry in missing]}


class BlobUnreadableError(DaemonError):
    """Bytes that were held turned out bad, or are gone, while they were being sent."""

    status = 404
    code = "blob_not_found"
    title = "A blob is gone"

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"{digest} could not be read back; upload it again")
        self.digest = digest

    @property
    def extensions(self) -> Mapping[str, Json]:
        return {"missing": [{"digest": str(self.digest)}]}


class DecoderUnavailableError(DaemonError):
    """Echo's workers are busy, or one was lost while it decoded."""

    status = 503
    code = "decoder_unavailable"
    title = "The image cannot be decoded now"
    retryable = True
    retry_after_seconds = 1


class VariantLostError(DaemonError):
    """The smaller image that was to be sent is gone or damaged; it is made anew for a resend."""

    status = 503
    code = "variant_lost"
    title = "An image has to be scaled again"
    retryable = True
    retry_after_seconds = 1

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"the variant {digest} could not be read back; send the request again")


class StoreUnavailableError(DaemonError):
    """The store cannot answer now."""

    status = 503
    code = "store_unavailable"
    title = "The store cannot answer"
    retryable = True
    retry_after_seconds = 1  # a store that is away is asked again after as long


class StoreRefusedError(DaemonError):
    """The store does not take this daemon's key: the operator's to settle."""

    status = 502
    code = "store_refused"
    title = "The store refuses this daemon"


class StoreFailedError(DaemonError):
    """The store answered with an error that stays, or with no answer of a store's."""

    status = 502
    code = "store_failed"
    title = "The store's answer cannot be used"


class StoreLoopError(DaemonError):
    """A daemon's store is a daemon, itself or another: the operator's to settle."""

    status = 508  # RFC 5842 section 7.2
    code = "loop_detected"
    title = "A daemon is asked in place of a store"


class EdgeLoopError(DaemonError):
    """Edges have each other as their remotes: the operator's to settle."""

    status = 508
    code = "loop_detected"
    title = "Edges stand behind each other without an end"


class WrongBytesError(DaemonError):
    """The store sent other bytes than were asked for, more than once; none of them was used."""

    status = 502
    code = "store_bytes_wrong"
    title = "The store sent wrong bytes"

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"other bytes came than {digest}")
        self.digest = digest


class NotSetAsideError(DaemonError):
    """The body of a request had to lie on this host for a while, and its disk did not take it."""

    status = 507
    code = "body_not_set_aside"
    title = "No room to set the body aside"


class NotKeptError(DaemonError):
    """The store refused something for what it is: too large, empty, or full. It stays refused."""

    code = "not_kept"
    title = "It could not be kept"


class UpstreamError(DaemonError):
    """The upstream's fault, before its first byte reached the client."""

    status = 502
    code = "upstream_failed"
    title = "The upstream failed"


class UpstreamUnreachableError(UpstreamError):
    """Nobody answers at the upstream's address."""

    code = "upstream_unreachable"
    title = "The upstream cannot be reached"
    retryable = True


class UpstreamHungUpError(UpstreamError):
    """The upstream closed the connection instead of answering, as one does that was idle."""

    code = "upstream_hung_up"
    title = "The upstream hung up"
    retryable = True


class UpstreamGarbageError(UpstreamError):
    """What the upstream answered is not HTTP."""

    code = "upstream_garbage"
    title = "The upstream's answer cannot be read"


class UpstreamTimeoutError(UpstreamError):
    """The upstream was too slow; `limit` of its settings says at what."""

    status = 504
    code = "upstream_timeout"
    title = "The upstream is too slow"
    retryable = True


class UpstreamConnectTimeoutError(UpstreamTimeoutError):
    """Nobody answered at the upstream's address in time; nothing was sent."""


class UpstreamCutError(UpstreamError):
    """The upstream's answer broke off after it had begun."""

    code = "upstream_cut"
    title = "The upstream's answer broke off"


class RemoteFailedError(UpstreamError):
    """The daemon behind this edge answered something that is not the protocol."""

    code = "remote_failed"
    title = "The remote's answer cannot be used"


class ObservationsUnreadableError(DaemonError):
    """What was observed cannot be read: the file is not there, or is none of ours."""


class ReadingStoppedError(Exception):
    """Reading in the background was told to end; nobody waits for it."""


def missing_fields(fields: Mapping[str, Digest]) -> list[dict[str, str]]:
    """Return how an answer lists fields that are not kept."""
    return [
        {"digest": str(digest), "field": key, "path": field_path(key)}
        for key, digest in fields.items()
    ]
