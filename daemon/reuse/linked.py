"""What the modes `url` and `file` have in common: an address stands for a blob, and the upstream reads there.

1. Where it says before its model runs that it could not, the turn goes again within the same request,
   with the bytes of those blobs that it names, or else of all of them.
2. What it could not read, and takes as bytes, goes as bytes from then on: a blob keeps its form in a
   chain. An upstream that three turns in a row could read nothing gets bytes for ten minutes.

What proves that no model ran: a status below 500 with an error that speaks of fetching, since such a
request was refused; or any status with an error that names one of the addresses, since media are read
before a model is run.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from coatcheck.protocol import Digest, FoundInline, Path

from ..body import Body
from ..form import AsUrl
from ..meters import Meters
from ..peeked import Refusal
from ..splice import Filling
from .mode import Headers, Hop, Plan

_WATCHED: Final = frozenset({400, 403, 404, 413, 415, 422, 424, 500, 502})
_REFUSED: Final = 400
_SERVER_FAILED: Final = 500
# OpenAI: "Error while downloading ..", code invalid_image_url; Anthropic: "Unable to download the file";
# Gemini: "Cannot fetch content from the provided URL"; vLLM: "Cannot load local files without
# --allowed-local-media-path"; llama.cpp, SGLang: "failed to download", "No such file or directory".
_speaks_of_reading = re.compile(
    r"download|fetch|retriev|\burls?\b|_url\b|local.?(?:media|file)|no such file|permission denied",
    re.IGNORECASE,
).search
_MAX_SHUNNED = 10_000
_FAILURES_IN_A_ROW = 3
_RESTING_SECONDS = 600.0


class Reach:
    """What one upstream could not read, as far as this process knows."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._shunned: OrderedDict[Digest, None] = OrderedDict()
        self._failures = 0
        self._rests_until = 0.0

    def takes(self, digest: Digest) -> bool:
        """Say whether a blob's address is worth naming."""
        return digest not in self._shunned and self._clock() >= self._rests_until

    def failed(self, digests: Collection[Digest]) -> None:
        """Note blobs that it could not read, and took as bytes."""
        for digest in digests:
            self._shunned[digest] = None
            self._shunned.move_to_end(digest)
        while len(self._shunned) > _MAX_SHUNNED:
            self._shunned.popitem(last=False)
        self._failures += 1
        if self._failures >= _FAILURES_IN_A_ROW:
            self._rests_until = self._clock() + _RESTING_SECONDS

    def worked(self) -> None:
        """Note that it read all that it was named."""
        self._failures = 0


@dataclass(slots=True)
class Hold:
    """What is held while any plan of a turn is under way, if something is; let go of once."""

    release: Callable[[], None] | None = None
    plans: int = 0

    def begin(self) -> None:
        """Note that one more plan needs it."""
        self.plans += 1

    def end(self) -> None:
        """Note that one needs it no more."""
        self.plans -= 1
        if not self.plans and self.release:
            self.release()


@dataclass(frozen=True, slots=True)
class Link:
    """A blob of so many bytes, and its address."""

    digest: Digest
    size: int
    url: str


class LinkedPlan:
    """Addresses in place of some blobs, bytes for the others."""

    def __init__(
        self,
        mode: "Linking",
        hop: Hop,
        links: Mapping[Path, Link],
        inline: Sequence[Filling],
        hold: Hold,
        missed: Collection[Digest] = (),
    ) -> None:
        """`links` are by the paths of their slots; `inline` fills those in which the client's bytes stand.

        `missed` is what could not be read.
        """
        self._mode = mode
        self._hop = hop
        self._links = links
        self._inline = inline
        self._hold = hold
        self._missed = missed
        self.watched: Collection[int] = mode.watched if links else ()
        linked = [each for each in inline if each.slot.path in links]
        self.fillings: Sequence[Filling] = [self._filled(each) for each in [*hop.fillings, *linked]]
        hold.begin()

    def headers(self, headers: Headers) -> Headers:
        """Return them as they are."""
        return headers

    def body(self, body: Body) -> Body:
        """Return it as it is."""
        return body

    async def refused(self, refusal: Refusal) -> Plan | None:
        """Send bytes where the upstream says that it could not read; see `Plan.refused`.

        The second time all of them.
        """
        linked = {link.digest for link in self._links.values()}
        named = {link.digest for link in self._links.values() if _names(refusal, link)}
        is_refused = refusal.status < _SERVER_FAILED and _speaks_of_reading(refusal.text)
        if not named and not is_refused:
            return None
        missed = named if named and not self._missed else linked
        left = {path: link for path, link in self._links.items() if link.digest not in missed}
        missed = {*self._missed, *missed}
        return LinkedPlan(self._mode, self._hop, left, self._inline, self._hold, missed)

    def answered(self, status: int) -> None:
        """Learn whether it read what it was named, or took the bytes instead."""
        if status < _REFUSED:
            self._mode.note(self._hop, self._links.values(), self._missed)

    def close(self) -> None:
        """Let go of what is held; see `Plan.close`."""
        self._hold.end()

    def _filled(self, filling: Filling) -> Filling:
        link = self._links.get(filling.slot.path)
        return filling if link is None else replace(filling, form=AsUrl(link.url))


class Linking:
    """What one mode knows of its upstreams. Belongs to the event loop."""

    def __init__(
        self,
        name: str,
        meters: Meters,
        clock: Callable[[], float],
        watched: Collection[int] = _WATCHED,
    ) -> None:
        """`name` is the mode's; `clock` gives seconds; `watched` are statuses that may say it could not read."""
        self.watched = watched
        self._name = name
        self._meters = meters
        self._clock = clock
        self._reaches: dict[str, Reach] = {}

    def reach(self, hop: Hop) -> Reach:
        """Return what is known of a turn's upstream; there are as many as the settings have."""
        return self._reaches.setdefault(hop.upstream.config.name, Reach(self._clock))

    def note(self, hop: Hop, links: Collection[Link], missed: Collection[Digest]) -> None:
        """Learn that an upstream answered what had these addresses, and bytes of what it missed."""
        for link in links:
            self._meters.reused(self._name, "found", link.size)
        if missed:
            self._meters.reused(self._name, "recovered")
            self.reach(hop).failed(missed)
        elif links:
            self.reach(hop).worked()


def came_inline(filling: Filling) -> bool:
    """Say whether the client's own bytes stand in a slot."""
    return isinstance(filling.slot.found, FoundInline)


def _names(refusal: Refusal, link: Link) -> bool:
    """Say whether an error is about an address; that it was refused is shown by less than that it failed."""
    if refusal.status < _SERVER_FAILED and link.digest.hex in refusal.text:
        return True
    return link.url in refusal.text or link.url.removeprefix("file://") in refusal.text
