"""The mode `file-id`: a blob is uploaded to the provider's Files API once, and named by its id after that.

A file that is gone is found out by the refusal of a turn that names it: then it is uploaded again, and
where that is refused too the bytes go. What no slot or API takes goes as bytes from the beginning.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from coatcheck.protocol import FileSlot
from coatcheck.store import StoreError

from ..body import Body
from ..form import AsFile
from ..meters import Meters
from ..peeked import Refusal
from ..splice import Filling
from .errors import FileError
from .file_sweep import FileSweep
from .files_api import FilesApi
from .inline import InlinePlan
from .ledger import Entry, FileKey, Ledger
from .line import Line
from .mode import Headers, Hop, Plan
from .offer import Offer, offers
from .owner import Owner, keyed_hash, owner_of
from .uploads import REFUSED_SECONDS, Uploads

_log = logging.getLogger(__name__)
# Before a model runs: a request is looked at, and what it names is fetched. 403 is Gemini's, for what
# is not there.
_REFUSALS = frozenset({400, 403, 404, 410, 422})
_MAX_PLANS = 8  # of a turn that name files; the next one does not
_CHECKED_AT_ONCE = 8
_speaks_of_files = re.compile(r"\bfiles?\b|file_id|file_uri|fileUri", re.IGNORECASE).search


class FileIds:
    """The mode `file-id`. Owns its uploads and what looks after files; the ledger is another's."""

    def __init__(
        self,
        ledger: Ledger,
        apis: Mapping[str, FilesApi],
        uploads: Uploads,
        sweep: FileSweep,
        meters: Meters,
        clock: Callable[[], float],
    ) -> None:
        """`apis` has one for each provider's name."""
        self._ledger = ledger
        self._apis = apis
        self._uploads = uploads
        self._sweep = sweep
        self._meters = meters
        self._clock = clock

    async def plan(self, hop: Hop) -> Plan:
        """Upload what is not at the provider yet; see `Mode.plan`."""
        return await self._plan(hop, 1, frozenset())

    async def close(self) -> None:
        """End uploads and the looking after. May be called twice."""
        await self._sweep.close()
        await self._uploads.close()

    async def _plan(self, hop: Hop, number: int, renewed: frozenset[FileKey]) -> Plan:
        config = hop.upstream.config
        api = self._apis[config.provider.name]
        offered = [offer async for offer in offers(hop, FileSlot) if api.takes(offer)]
        if not offered:
            return InlinePlan(hop.fillings)
        owner = owner_of(self._ledger.secret, hop)
        keyed = [(self._key(hop.tenant, owner, api, offer), offer) for offer in offered]
        found, made = await self._entries(dict(keyed), owner, api, api.lasting(config.file_seconds))
        entries = {**found, **made}
        named = [
            _named(key, offer.filling, file, entry, is_found=key in found)
            for key, offer in keyed
            if (entry := entries.get(key)) and (file := entry.file) is not None
        ]
        if not named:
            return InlinePlan(hop.fillings)
        return FilePlan(self, hop, owner, api, named, number, renewed)

    def _key(self, tenant: str, owner: Owner, api: FilesApi, offer: Offer) -> FileKey:
        use = keyed_hash(self._ledger.secret, "use", api.use(offer))
        return FileKey(tenant, offer.digest, owner.name, use)

    async def _entries(
        self,
        offered: Mapping[FileKey, Offer],
        owner: Owner,
        api: FilesApi,
        seconds: int,
    ) -> tuple[Mapping[FileKey, Entry], Mapping[FileKey, Entry]]:
        """Return what is known of blobs, and what became of the others, which are uploaded."""
        try:
            known = await self._ledger.find(offered, self._clock())
        except StoreError as error:
            _log.warning("what providers keep cannot be read: %s", error)
            return {}, {}
        absent = {key: offer for key, offer in offered.items() if key not in known}
        uploaded = await asyncio.gather(
            *(
                self._uploads.upload(key, owner, api, offer, seconds)
                for key, offer in absent.items()
            )
        )
        return known, dict(zip(absent, uploaded, strict=True))

    def count(self, plan: "FilePlan") -> None:
        """Count what a plan that was answered has spared."""
        for each in {each.key: each for each in plan.named if each.is_found}.values():
            self._meters.reused("file-id", "found", each.filling.blob.size)

    async def replan(self, plan: "FilePlan", refusal: Refusal) -> Plan | None:
        """Return what to send in place of a plan that was refused; see `Plan.refused`."""
        blamed = [each for each in plan.named if _is_named(each, refusal.text)]
        if not blamed and not _speaks_of_files(refusal.text):
            return None
        gone = await self._gone(plan, blamed)
        # What is refused as soon as it is there, or for another reason than that it is not, goes as bytes.
        given_up = [each for each in gone if each.key in plan.renewed] if gone else plan.named
        await self._forget(gone, given_up)
        self._meters.reused("file-id", "recovered")
        if not gone or plan.number >= _MAX_PLANS:
            return InlinePlan(plan.hop.fillings)
        renewed = plan.renewed | {each.key for each in gone}
        return await self._plan(plan.hop, plan.number + 1, renewed)

    async def _gone(self, plan: "FilePlan", blamed: Sequence["_Named"]) -> Sequence["_Named"]:
        """Return the files of a plan that are not there: those that are blamed, and of the rest all
        that the provider does not know."""
        line, places = Line(plan.owner), asyncio.Semaphore(_CHECKED_AT_ONCE)
        rest = {each.file: each for each in plan.named if each not in blamed}

        async def is_gone(each: _Named) -> bool:
            async with places:
                try:
                    return not await plan.api.has(line, each.name)
                except FileError:
                    return False

        answers = await asyncio.gather(*map(is_gone, rest.values()))
        lost = [each for each, gone in zip(rest.values(), answers, strict=True) if gone]
        return [*blamed, *lost]

    async def _forget(self, gone: Sequence["_Named"], given_up: Sequence["_Named"]) -> None:
        """Forget files that are not there; have bytes go for a while in place of some."""
        now = self._clock()
        try:
            await self._ledger.forget({each.key: each.file for each in (*gone, *given_up)})
            for each in given_up:
                original = each.filling.original or each.filling.blob.digest
                instead = Entry(None, None, now + REFUSED_SECONDS)
                await self._ledger.put(each.key, original, instead, now)
        except StoreError as error:
            _log.warning("what a provider refused cannot be noted: %s", error)


@dataclass(frozen=True, slots=True)
class _Named:
    """A blob that a file stands for."""

    key: FileKey
    filling: Filling
    file: str
    name: str
    is_found: bool
    """Whether it was there before this turn."""


class FilePlan:
    """Files for those blobs that the provider has; bytes for the others."""

    watched = _REFUSALS

    def __init__(
        self,
        mode: FileIds,
        hop: Hop,
        owner: Owner,
        api: FilesApi,
        named: Sequence[_Named],
        number: int,
        renewed: frozenset[FileKey],
    ) -> None:
        """`number` counts the plans of the turn, from one; files of those that were `renewed` in it are
        new ones."""
        self._mode = mode
        self.hop = hop
        self.owner = owner
        self.api = api
        self.named = named
        self.number = number
        self.renewed = renewed
        paths = {each.filling.slot.path for each in named}
        others = (filling for filling in hop.fillings if filling.slot.path not in paths)
        self.fillings: Sequence[Filling] = [*others, *(each.filling for each in named)]

    def headers(self, headers: Headers) -> Headers:
        """Return them as the Files API wants them; see `Plan.headers`."""
        return self.api.headers(headers)

    def body(self, body: Body) -> Body:
        """Return it as it is."""
        return body

    async def refused(self, refusal: Refusal) -> Plan | None:
        """See `Plan.refused`."""
        return await self._mode.replan(self, refusal)

    def answered(self, status: int) -> None:
        """Count it, where a model has seen it."""
        if status < 400:
            self._mode.count(self)

    def close(self) -> None:
        """Nothing is held."""


def _named(key: FileKey, filling: Filling, file: str, entry: Entry, *, is_found: bool) -> _Named:
    named = replace(filling, form=AsFile(file))
    return _Named(key, named, file, entry.name or file, is_found)


def _is_named(each: _Named, text: str) -> bool:
    """Whether a refusal names a file: ids are too long to stand there by chance."""
    return each.name.rpartition("/")[2] in text
