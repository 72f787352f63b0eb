"""One cell of the matrix: what is handed in, what is expected, and what came of it."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from coatcheck.protocol import Digest, Pointer

from .relay import Passed
from .roster import Client

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DIGEST = Digest.of(PIXEL)

Form = Literal["file", "ref", "pointer", "inline"]
FORMS: tuple[Form, ...] = ("file", "ref", "pointer", "inline")
STATUS: Mapping[str, int] = {
    "blob_not_found": 404,
    "pointer_invalid": 400,
    "key_invalid": 401,
    "quota_exceeded": 429,
}
"""The faults that are made, by their codes."""
Verdict = Literal["works", "refused", "altered", "inexpressible", "failed"]
"""`refused`: the client raised and sent nothing; `altered`: it sent something else; `inexpressible`:
its interface has no place for it; `failed`: it sent what it should, and was not served."""


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# How each is handed in, and its text. A pointer is taken by every client, so it carries the faults.
_HANDED: Mapping[str, tuple[Form, str]] = {
    "ref": ("ref", f"blob:{DIGEST}"),
    "pointer": ("pointer", _base64(str(Pointer(DIGEST, len(PIXEL))))),
    "inline": ("inline", base64.b64encode(PIXEL).decode()),
    "blob_not_found": ("pointer", _base64(str(Pointer(Digest.of(b"unknown"), 7)))),
    "pointer_invalid": ("pointer", _base64(f"version coatcheck-pointer/1\ndigest {DIGEST}\n")),
    "key_invalid": ("pointer", _base64(str(Pointer(DIGEST, len(PIXEL))))),
}


@dataclass(frozen=True)
class Trial:
    """One cell to try. `what` is a form or a fault."""

    client: Client
    dialect: str
    is_streamed: bool
    what: str

    @property
    def model(self) -> str:
        """The model it names: its provider's name first, which LiteLLM's proxy routes by."""
        provider, _, kind = self.dialect.partition(".")
        manner = "stream" if self.is_streamed else "whole"
        return f"{provider}-{kind}-{self.client.name}-{manner}-{self.what}"

    def handed(self, file_id: str) -> tuple[Form, str]:
        """Return the form to hand in, and its text: of a file, empty where the client makes it."""
        if self.what == "quota_exceeded":
            return "file", ""
        if self.what == "file":
            return "file", "" if self.client.has_files else file_id
        return _HANDED[self.what]


@dataclass(frozen=True)
class Outcome:
    """What came of a cell: the verdict, what was raised and in which words, how often it was sent."""

    trial: Trial
    verdict: Verdict
    words: str = ""
    raised: str = ""
    requests: int = 0


def trials(client: Client) -> Iterator[Trial]:
    """Yield what is tried with a client."""
    faults = [fault for fault in STATUS if not _is_beyond(client, fault)]
    for dialect in client.dialects:
        for is_streamed in (False, True):
            for what in (*FORMS, *faults):
                yield Trial(client, dialect, is_streamed, what)


def _is_beyond(client: Client, fault: str) -> bool:
    """Whether a client cannot meet a fault.

    Who asks LiteLLM's proxy gives it a key of the proxy's, which is never a wrong one of ours.
    """
    if fault == "quota_exceeded":
        return not client.has_files
    return fault == "key_invalid" and client.route == "through"


def judge(
    trial: Trial, told: Mapping[str, object], seen: Sequence[Passed], file_id: str = ""
) -> Outcome:
    """Decide what came of a cell, by what its program told and what the relay saw of it."""
    words = str(told.get("words") or told.get("inexpressible") or told.get("said") or "")
    outcome = Outcome(trial, "failed", words, str(told.get("raised") or ""), len(seen))
    if "inexpressible" in told:
        return replace(outcome, verdict="failed" if seen else "inexpressible")
    if not seen:
        return replace(outcome, verdict="refused" if outcome.raised else "failed")
    is_told = trial.what == "quota_exceeded" or any(
        _carries(passed, *trial.handed(file_id)) for passed in seen
    )
    if not is_told:
        return replace(outcome, verdict="altered")
    served = _is_refused if trial.what in STATUS else _is_described
    return replace(outcome, verdict="works" if served(trial, told, seen) else "failed")


def _carries(passed: Passed, form: Form, text: str) -> bool:
    """Whether a body holds what was handed in; Google's SDK writes base64 URL-safe."""
    if form == "file":
        return re.search(text or "file-cc[a-z2-7]{24}", passed.body) is not None
    return text in passed.body or text.replace("+", "-").replace("/", "_") in passed.body


def _is_refused(trial: Trial, told: Mapping[str, object], seen: Sequence[Passed]) -> bool:
    """Whether one request was refused with the right status, and the client raised with it."""
    status = STATUS[trial.what]
    return [passed.status for passed in seen] == [status] and told.get("status") == status


def _is_described(trial: Trial, told: Mapping[str, object], seen: Sequence[Passed]) -> bool:
    """Whether one request was answered by who saw the picture, in the manner asked for.

    A proxy in between decides for itself how it asks.
    """
    said = str(told.get("said"))
    is_pictured = DIGEST in said and ("PNG 1x1" in said or "image/png" in said)
    turns = [passed for passed in seen if "/files" not in passed.path]
    manners = [passed.media_type == "text/event-stream" for passed in turns]
    is_asked = manners == [trial.is_streamed] or trial.client.route == "through"
    return is_pictured and is_asked and len(manners) == 1
