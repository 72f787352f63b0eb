"""Keeping: prompts by their digest, and the bytes that came inline in them.

Best effort, beside the forward: what cannot be kept is logged, counted as not kept, and the turn
goes on. `keep` is awaited before the answer's headers, since they say whether it worked.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coatcheck.client import Familiar, TextKey
from coatcheck.protocol import (
    Dialect,
    Digest,
    FoundInline,
    InlineBlob,
    Json,
    Path,
    PromptDigestError,
    RefForm,
    encode_json,
    fields_of,
    prompt_digests,
    prompt_root,
    ref_form,
)

from .errors import DaemonError
from .fields import Fields, KeptField, gather_all
from .source import BlobSource, KeptMessage, PromptSource
from .turn import LargeValue

_log = logging.getLogger(__name__)
_MAX_MESSAGES = 100_000  # of one request: keeping them takes two seconds of a processor
_ABSORBED_AT_ONCE = 8  # most of an upload is waiting for the disk
_DECODED_CHARS = 8 * 1024 * 1024  # of base64 decoded at once, but for one larger image


@dataclass(frozen=True, slots=True)
class Kept:
    """What is held of a turn's messages now.

    `prompt` names the whole list, where that is kept; `places` are the attachments of those that
    were sent, in order: where each stands among them, and which blob it is.
    """

    prompt: Digest | None = None
    places: Sequence[tuple[Path, Digest]] = ()


class Keeper:
    """Owns the absorbing that goes on in the background; close it to end that."""

    def __init__(
        self,
        blobs: BlobSource,
        prompts: PromptSource,
        fields: Fields,
        familiar: Familiar[Digest],
        max_background: int = 4,
    ) -> None:
        self._blobs = blobs
        self._familiar = familiar
        self._prompts = prompts
        self._fields = fields
        # Each holds one request's decoded images; a fifth is not absorbed rather than queued.
        self._max_background = max_background
        self._background: set[asyncio.Task[None]] = set()

    async def keep(
        self,
        tenant: str,
        dialect: Dialect,
        parent: Digest | None,
        messages: Sequence[Json],
        origins: Collection[str],
        end_user: str | None = None,
        beside: Sequence[LargeValue] = (),
    ) -> Kept:
        """Keep messages that continue `parent`, and their bytes; `end_user` is whom they are for.

        What is large enough `beside` them is kept as fields. Nothing is kept without an RFC 8785 form, in a store without room, or of more messages than
        any model reads. May be repeated.
        """
        if len(messages) > _MAX_MESSAGES:
            _log.warning("prompt not kept: more than %d messages at once", _MAX_MESSAGES)
            return Kept()
        try:
            start = parent or prompt_root(dialect.name)
            form, kept, fields = await asyncio.to_thread(
                _prepare, dialect, messages, origins, start, beside
            )
            await self._absorb_all(tenant, form.inline, end_user)
            await gather_all(
                (
                    self._prompts.append(tenant, dialect.name, start, kept, end_user=end_user),
                    self._fields.keep(tenant, fields, end_user=end_user),
                )
            )
        except (PromptDigestError, DaemonError) as error:
            _log.warning("prompt not kept: %s", error)
            return Kept()
        return Kept(kept[-1].digest if kept else start, form.places)

    async def absorb(
        self,
        tenant: str,
        dialect: Dialect,
        messages: Sequence[Json],
        origins: Collection[str],
        end_user: str | None = None,
    ) -> Kept:
        """Take the bytes that stand inline in messages, for `end_user`. May be repeated."""
        form = await asyncio.to_thread(ref_form, dialect, messages, origins)
        try:
            await self._absorb_all(tenant, form.inline, end_user)
        except DaemonError as error:
            _log.warning("inline blobs not absorbed: %s", error)
            return Kept()
        return Kept(None, form.places)

    async def take(
        self, tenant: str, blobs: Sequence[InlineBlob], end_user: str | None = None
    ) -> bool:
        """Take blobs, for `end_user`; say whether all of them are held then. May be repeated."""
        try:
            await self._absorb_all(tenant, blobs, end_user)
        except DaemonError as error:
            _log.warning("inline blobs not absorbed: %s", error)
            return False
        return True

    def absorb_later(
        self,
        tenant: str,
        dialect: Dialect,
        messages: Sequence[Json],
        origins: Collection[str],
        end_user: str | None = None,
    ) -> None:
        """Take the bytes that stand inline in messages, in the background, if there is room."""
        if len(self._background) >= self._max_background:
            return
        absorbing = self._absorb_unfamiliar(tenant, dialect, messages, origins, end_user)
        task = asyncio.create_task(absorbing)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """End the background work. May be called twice."""
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _absorb_unfamiliar(
        self,
        tenant: str,
        dialect: Dialect,
        messages: Sequence[Json],
        origins: Collection[str],
        end_user: str | None,
    ) -> None:
        """Take what was not met lately, or is not held any more."""
        texts = await asyncio.to_thread(_texts, dialect, messages, origins, self._familiar)
        known = {key: self._familiar.find(tenant, key) for key in texts}
        try:
            met = {digest for digest in known.values() if digest is not None}
            held = await self._held(tenant, met, end_user) if met else ()
            new = {key: found for key, found in texts.items() if known[key] not in held}
            blobs = await asyncio.to_thread(_named, new)
            await self._absorb_all(tenant, list(blobs.values()), end_user)
        except DaemonError as error:
            _log.warning("inline blobs not absorbed: %s", error)
            return
        for key, blob in blobs.items():
            self._familiar.note(tenant, key, blob.digest)

    async def _absorb_all(
        self, tenant: str, blobs: Sequence[InlineBlob], end_user: str | None
    ) -> None:
        """Take each blob once, a few at a time."""
        unique = {blob.digest: blob for blob in blobs}
        held = await self._held(tenant, unique, end_user) if unique else ()
        absent = [blob for digest, blob in unique.items() if digest not in held]
        for batch in _batches(absent):
            absorbing = (self._absorb(tenant, blob, end_user) for blob in batch)
            for outcome in await asyncio.gather(*absorbing, return_exceptions=True):
                if outcome is not None:
                    raise outcome

    async def _held(
        self, tenant: str, digests: Collection[Digest], end_user: str | None
    ) -> Collection[Digest]:
        """Return what need not be taken: handing it in again would change nothing."""
        if end_user is None:
            return await self._blobs.resolve(tenant, digests)
        return await self._blobs.claim(tenant, digests, end_user)

    async def _absorb(self, tenant: str, blob: InlineBlob, end_user: str | None) -> None:
        data = await asyncio.to_thread(blob.decode)
        await self._blobs.absorb(tenant, data, blob.media_type, end_user=end_user)


def _texts(
    dialect: Dialect, messages: Sequence[Json], origins: Collection[str], familiar: Familiar[Digest]
) -> dict[TextKey, FoundInline]:
    """Return what stands inline in messages, each text once."""
    found = (slot.found for slot in dialect.walk(messages, origins))
    inline = [one for one in found if isinstance(one, FoundInline)]
    keyed = ((familiar.key_of(one), one) for one in inline)
    return {key: one for key, one in keyed if key is not None}


def _named(texts: Mapping[TextKey, FoundInline]) -> dict[TextKey, InlineBlob]:
    """Return the blobs of those texts that are strict base64, decoded one at a time."""
    blobs: dict[TextKey, InlineBlob] = {}
    for key, found in texts.items():
        data = found.decode()
        if data is not None:
            blobs[key] = InlineBlob(0, Digest.of(data), found)
    return blobs


def _batches(blobs: Sequence[InlineBlob]) -> Iterator[Sequence[InlineBlob]]:
    """Yield a few blobs at a time: each is decoded whole."""
    batch: list[InlineBlob] = []
    chars = 0
    for blob in blobs:
        count = blob.found.length
        if batch and (len(batch) == _ABSORBED_AT_ONCE or chars + count > _DECODED_CHARS):
            yield batch
            batch, chars = [], 0
        batch.append(blob)
        chars += count
    if batch:
        yield batch


def _prepare(
    dialect: Dialect,
    messages: Sequence[Json],
    origins: Collection[str],
    parent: Digest,
    beside: Sequence[LargeValue],
) -> tuple[RefForm, list[KeptMessage], list[KeptField]]:
    """Return messages in ref form, and as they are to be stored; and the fields, which are none yet."""
    form = ref_form(dialect, messages, origins)
    digests = prompt_digests(dialect.name, form.messages, parent)
    kept = [
        KeptMessage(digest, encode_json(message).decode(), blobs)
        for digest, message, blobs in zip(digests, form.messages, form.blobs, strict=True)
    ]
    blobs_of = {large.key: large.blobs for large in beside}
    fields = [
        KeptField(field.digest, encode_json(field.value).decode(), blobs_of[field.key])
        for field in fields_of({large.key: large.value for large in beside}, dialect)
    ]
    return form, kept, fields
