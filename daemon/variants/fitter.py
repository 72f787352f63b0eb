"""Fitting a turn's images to its upstream's policy: found on the shelf, or made and put there.

Whatever keeps a variant from being made, the original is sent; and since an upstream's prompt cache
knows an image by its bytes, it goes on being sent for a while.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakValueDictionary

from coatcheck.protocol import (
    Base64Slot,
    Buffer,
    Digest,
    FoundInline,
    Path,
    Slot,
    piece_count,
    scale_headers,
)
from coatcheck.store import ImageRefusedError, StoreClosedError, StoreError

from ..body import OpenBlob
from ..errors import DaemonError
from ..meters import Meters
from ..resolver import Resolver
from ..source import BlobSource, PieceReader, Resolved
from ..splice import Filling
from ..turn import Turn
from .detail import detail_at
from .links import Derivation, Link
from .maker import Maker, Read
from .policy import ImagePolicy, Recipe
from .shelf import PRUNE_SECONDS, VariantShelf
from .sizing import Seen

_log = logging.getLogger(__name__)
_TRY_AGAIN_SECONDS = 3600.0  # as long as providers keep a prompt at the longest, but for a price


@dataclass(frozen=True, slots=True)
class Wanted:
    """For whom images are fitted: an upstream's policy, its provider and the turn's model."""

    policy: ImagePolicy
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Fitted:
    """What goes into a turn's slots, and how much smaller which images are."""

    fillings: Sequence[Filling]
    scales: Sequence[tuple[Path, float]] = ()
    variants: Mapping[Digest, int] = field(default_factory=dict[Digest, int])
    """Sizes in bytes."""

    @property
    def headers(self) -> dict[str, str]:
        """What the client is told."""
        return scale_headers(self.scales)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An image in a turn; `found` has its bytes where they are inline."""

    slot: Slot
    digest: Digest
    size: int
    found: FoundInline | None


class Fitter:
    """Fits turns to policies. Owns what looks after the shelf; close it. The shelf is another's."""

    def __init__(
        self,
        shelf: VariantShelf,
        maker: Maker,
        resolver: Resolver,
        blobs: BlobSource,
        meters: Meters,
        *,
        at_once: int,
        monotonic: Callable[[], float] = time.monotonic,
        prune_seconds: float = PRUNE_SECONDS,
    ) -> None:
        """`at_once` variants are made at the same time."""
        self._shelf = shelf
        self._maker = maker
        self._resolver = resolver
        self._blobs = blobs
        self._meters = meters
        self._monotonic = monotonic
        self._at_once = at_once
        self._places = asyncio.Semaphore(at_once)
        self._making: WeakValueDictionary[tuple[str, Derivation], asyncio.Lock] = (
            WeakValueDictionary()
        )
        self._pruning = asyncio.create_task(self._prune(prune_seconds))

    async def close(self) -> None:
        """End the looking after. May be called twice."""
        self._pruning.cancel()
        await asyncio.gather(self._pruning, return_exceptions=True)

    async def fit(
        self, tenant: str, wanted: Wanted, turn: Turn, fillings: Sequence[Filling]
    ) -> Fitted:
        """Return fillings with variants in place of images that are larger than the policy lets be.

        `fillings` are of attachments that the tenant holds; inline images get one where they are
        replaced.
        """
        candidates = [candidate async for candidate in _candidates(turn, fillings)]
        recipes = {
            candidate.slot.path: wanted.policy.recipe(
                wanted.provider,
                Seen(wanted.model, detail_at(turn.body, candidate.slot.path), len(candidates)),
            )
            for candidate in candidates
        }
        links = await self._links(tenant, candidates, recipes)
        placed = {
            candidate.slot.path: link
            for candidate in candidates
            if (link := links.get(self._derivation(candidate, recipes))) and link.digest
        }
        kept = [filling for filling in fillings if filling.slot.path not in placed]
        scaled = [
            _variant(candidate, link)
            for candidate in candidates
            if (link := placed.get(candidate.slot.path))
        ]
        return Fitted(
            [*kept, *scaled],
            [(slot.path, placed[slot.path].scale) for slot in turn.slots if slot.path in placed],
            {filling.blob.digest: filling.blob.size for filling in scaled},
        )

    def opener(self, fitted: Fitted, open_blob: OpenBlob) -> OpenBlob:
        """Return what opens a turn's blobs: variants from the shelf, others as before."""

        async def open_either(digest: Digest) -> PieceReader:
            size = fitted.variants.get(digest)
            if size is None:
                return await open_blob(digest)
            return await self._shelf.open_variant(digest, size)

        return open_either

    def _derivation(self, candidate: _Candidate, recipes: Mapping[Path, Recipe]) -> Derivation:
        return candidate.digest, recipes[candidate.slot.path].name(self._maker.encoder)

    async def _links(
        self, tenant: str, candidates: Sequence[_Candidate], recipes: Mapping[Path, Recipe]
    ) -> dict[Derivation, Link]:
        """Return what goes in the place of each image, made where it is not there."""
        by_derivation = {self._derivation(each, recipes): each for each in candidates}
        links = await self._shelf.find(tenant, list(by_derivation))
        self._count(links.values())
        absent = {key: each for key, each in by_derivation.items() if key not in links}
        # A turn stands in the queue for workers no more often than it can be served, so that one
        # with very many images keeps no other waiting for all of them.
        own_places = asyncio.Semaphore(self._at_once)

        async def make(derivation: Derivation, candidate: _Candidate) -> Link | None:
            async with own_places:
                recipe = recipes[candidate.slot.path]
                return await self._make_once(tenant, derivation, candidate, recipe)

        made = await asyncio.gather(*(make(key, each) for key, each in absent.items()))
        return links | {key: link for key, link in zip(absent, made, strict=True) if link}

    async def _make_once(
        self, tenant: str, derivation: Derivation, candidate: _Candidate, recipe: Recipe
    ) -> Link | None:
        """Make a variant, unless another turn of this process did it since this one asked."""
        lock = self._making.setdefault((tenant, derivation), asyncio.Lock())
        async with lock, self._places:
            if known := await self._shelf.find(tenant, [derivation]):
                self._count(known.values())
                return known[derivation]
            return await self._make(tenant, derivation, candidate, recipe)

    async def _make(
        self, tenant: str, derivation: Derivation, candidate: _Candidate, recipe: Recipe
    ) -> Link | None:
        began = self._monotonic()
        try:
            made = await self._maker.make(self._reader(tenant, candidate), candidate.size, recipe)
        except ImageRefusedError:
            made = None
        except (DaemonError, StoreClosedError) as error:  # as whoever sends the original will find
            self._note_failed(candidate, error)
            return None
        except StoreError as error:
            self._note_failed(candidate, error)
            again = _TRY_AGAIN_SECONDS if error.retryable else None
            await self._shelf.keep_original(tenant, derivation, again)
            return None
        if made is None:
            self._meters.variant("kept")
            await self._shelf.keep_original(tenant, derivation)
            return None
        link = await self._shelf.keep(tenant, derivation, made)
        self._meters.variant("made" if link else "failed", self._monotonic() - began)
        if link is None:
            await self._shelf.keep_original(tenant, derivation, _TRY_AGAIN_SECONDS)
        return link

    def _note_failed(self, candidate: _Candidate, error: Exception) -> None:
        _log.warning("no variant of %s: %s", candidate.digest, error)
        self._meters.variant("failed")

    def _count(self, found: Iterable[Link]) -> None:
        for link in found:
            self._meters.variant("found" if link.digest else "kept")

    def _reader(self, tenant: str, candidate: _Candidate) -> Read:
        if candidate.found is not None:
            return partial(_inline_bytes, candidate.found)
        return partial(self._pieces, tenant, candidate.digest)

    async def _pieces(self, tenant: str, digest: Digest) -> AsyncGenerator[Buffer]:
        reader = await self._resolver.open(tenant, digest)
        try:
            for index in range(piece_count(reader.size)):
                yield await reader.read_piece(index)
        finally:
            await reader.close()

    async def _prune(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            with suppress(DaemonError):  # the store is away, and is asked again
                try:
                    await self._shelf.prune(self._blobs)
                except StoreError as error:
                    _log.warning("variants were not looked through: %s", error)


async def _candidates(turn: Turn, fillings: Sequence[Filling]) -> AsyncGenerator[_Candidate]:
    """Yield the images of a turn; inline ones are decoded one at a time, to be named."""
    for filling in fillings:
        if _is_image(filling.slot, filling.media_type):
            yield _Candidate(filling.slot, filling.blob.digest, filling.blob.size, None)
    for slot in turn.slots:
        found = slot.found
        if isinstance(found, FoundInline) and _is_image(slot, found.media_type):
            named = await asyncio.to_thread(_named, found)
            if named is not None:
                yield _Candidate(slot, *named, found)


def _is_image(slot: Slot, media_type: str | None) -> bool:
    """Whether an image stands there that may be another.

    Not where no type stands beside it, for the provider would not learn another; nor a tool's mask,
    which has the size of an image elsewhere.
    """
    is_image = media_type is not None and media_type.startswith("image/")
    return is_image and not isinstance(slot, Base64Slot) and slot.path[0] != "tools"


def _named(found: FoundInline) -> tuple[Digest, int] | None:
    data = found.decode()
    return None if data is None else (Digest.of(data), len(data))


async def _inline_bytes(found: FoundInline) -> AsyncGenerator[Buffer]:
    data = await asyncio.to_thread(found.decode)
    assert data is not None  # it was decoded once, to be named
    yield data


def _variant(candidate: _Candidate, link: Link) -> Filling:
    assert link.digest is not None
    blob = Resolved(link.digest, link.size, link.media_type)
    original = candidate.digest
    return Filling(candidate.slot, blob, link.media_type, is_variant=True, original=original)
