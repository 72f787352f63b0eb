"""`docs/clients.md`, rendered from what a run of the matrix saw."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from .environments import NODE_MODULES, UPSTREAMS
from .roster import Client
from .trial import FORMS, STATUS, Outcome, Verdict

PAGE = Path(__file__).resolve().parents[2] / "docs/clients.md"
_WORDS_SHOWN = 160

_HEAD = """\
# Clients

`make test` writes this page: it runs every client below, unmodified but for its base URL and its key,
against `coatcheck serve` and its built-in `echo`, and fails when what it sees differs from what stands
here. `python -m tests.clients --write` rewrites the page.

Each cell is one request for a whole answer and one for a stream. It *works* when exactly one request
reached the server, the request carried the image in the form asked for, and the answer, whole or
streamed as asked, named the digest and the size of the right image.

| form | what the client is given |
|---|---|
| file id | the id of a file, `file-cc..`: of one that it made itself through its provider's Files API, where it has one |
| ref | `blob:sha256:..` where the client takes a URL |
| pointer | a pointer, in base64, as if it were the image's bytes |
| inline | the image's bytes, in base64 |

Chat Completions have no place for an image's file id but a `file` part, which is where it stands there;
pydantic-ai takes Google's files by a URI, and only with `https`.

LiteLLM's proxy is asked through the Python packages `openai` and `anthropic` of the first rows. In front
of us it knows us as its providers; behind us it is our upstream, and has an `echo` of ours as its own.

"""
_REFUSED = """\

What a client does by itself, before anything reaches us:

"""
_FAULTS = """\

## Errors

Each client raises an error of its own for what we refuse, and sends nothing twice: exactly one request
reached the server for each of these, whole and streamed. Where nothing stands, the client makes no files
itself, or gives its key to a proxy.

"""


_UPSTREAMS = """\

## Upstreams

The other end is tried with upstreams that others wrote. {fakellm} and {llmock} answer with, or keep, a hash
of the body that they got: over the turns of `tests/daemon/equality_corpus.py` it is the same whether the
client sent the bytes inline to them, or refs, pointers or URLs to us. What llmock and {aimock} break on
purpose (errors, limits, slowness, streams that end early, say nonsense or are cut) looks through us as it
does directly, and nothing is asked twice; a stream that was cut also gets an error event, in its dialect.

To add a client, write its program into `tests/clients/programs`, its pins into `tests/clients/environments`
and its row into `tests/clients/roster.py`.
"""


def render(outcomes: Sequence[Outcome]) -> str:
    """Return the page."""
    notes: list[str] = []
    rows = [["client", "version", "dialect", "file id", *FORMS[1:]]]
    faults = [["client", "version", "dialect", *(f"{STATUS[f]} `{f}`" for f in STATUS)]]
    for client, dialect, cells in _rows(outcomes):
        head = [client.label, client.version, f"`{dialect}`"]
        rows.append([*head, *(_cell(_of(cells, form), notes) for form in FORMS)])
        faults.append([*head, *(_raised(_of(cells, fault)) for fault in STATUS)])
    listed = "".join(f"{number}. {note}\n" for number, note in enumerate(notes, 1))
    refused = _REFUSED + listed if listed else ""
    return _HEAD + _table(rows) + refused + _FAULTS + _table(faults) + _upstreams()


def _upstreams() -> str:
    return _UPSTREAMS.format(
        fakellm=f"`fakellm` {UPSTREAMS.version_of('fakellm')}",
        llmock=f"`llmock` {UPSTREAMS.version_of('llmock')}",
        aimock=f"`@copilotkit/aimock` {NODE_MODULES.version_of('@copilotkit/aimock')}",
    )


def _rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[Client, str, list[Outcome]]]:
    """Yield each client and dialect with its outcomes."""
    for (_, dialect), group in groupby(
        outcomes, key=lambda o: (o.trial.client.name, o.trial.dialect)
    ):
        cells = list(group)
        yield cells[0].trial.client, dialect, cells


def _of(cells: Sequence[Outcome], what: str) -> list[Outcome]:
    return [cell for cell in cells if cell.trial.what == what]


def _cell(pair: Sequence[Outcome], notes: list[str]) -> str:
    said = [_verdict(outcome, notes) for outcome in pair]
    if len(set(said)) == 1:
        return said[0]
    whole_first = sorted(zip(pair, said, strict=True), key=lambda both: both[0].trial.is_streamed)
    return "; ".join(
        f"{'streamed' if outcome.trial.is_streamed else 'whole'}: {text}"
        for outcome, text in whole_first
    )


_SHOWN: dict[Verdict, str] = {
    "works": "works",
    "refused": "refused by the client",
    "altered": "sent otherwise by the client",
    "inexpressible": "not expressible",
    "failed": "**fails**",
}


def _verdict(outcome: Outcome, notes: list[str]) -> str:
    if outcome.verdict == "works":
        return _SHOWN["works"]
    raised = f"`{outcome.raised}`: " if outcome.raised else ""
    note = f"{raised}{_shortened(outcome.words)}"
    if note not in notes:
        notes.append(note)
    return f"{_SHOWN[outcome.verdict]} ({notes.index(note) + 1})"


def _raised(pair: Sequence[Outcome]) -> str:
    return ", ".join(dict.fromkeys(f"`{outcome.raised}`" for outcome in pair))


def _shortened(words: str) -> str:
    """Return the first line of what was said, without what differs from run to run."""
    line = re.sub(r"http://127\.0\.0\.1:\d+", "<server>", words.strip().partition("\n")[0])
    line = re.sub(r"file-cc[a-z2-7]{24}", "file-cc..", line).replace("|", "\\|")
    return line if len(line) <= _WORDS_SHOWN else f"{line[:_WORDS_SHOWN]}.."


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    lines = [f"| {' | '.join(line)} |" for line in (head, *rest)]
    return "\n".join((lines[0], f"|{'---|' * len(head)}", *lines[1:], ""))
