"""Keeping: prompts by their digest, and the bytes that came inline in them.

Best effort, beside the forward: what cannot be kept is logged, counted as not kept, and the turn
goes on. `keep` is awaited before the answer's headers, since they say whether it worked.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence

from coatcheck.protocol import (
    Dialect,
    Digest,
    InlineBlob,
    Json,
    PromptDigestError,
    encode_json,
    prompt_digests,
    prompt_root,
    ref_form,
)

from .errors import DaemonError
from .source import BlobSource, KeptMessage, PromptSource

_log = logging.getLogger(__name__)
_ABSORBED_AT_ONCE = 8  # each holds one decoded image


class Keeper:
    """Owns the absorbing that goes on in the background; close it to end that."""

    def __init__(self, blobs: BlobSource, prompts: PromptSource, max_background: int = 4) -> None:
        self._blobs = blobs
        self._prompts = prompts
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
    ) -> Digest | None:
        """Keep messages that continue `parent`; return the digest of the whole list.

        `end_user` is whom they are for, and what stands inline in them.
        None when it cannot be kept: no RFC 8785 form, or a store without room. May be repeated.
        """
        try:
            start = parent or prompt_root(dialect.name)
            inline, kept = await asyncio.to_thread(_prepare, dialect, messages, origins, start)
            await self._absorb_all(tenant, inline, end_user)
            await self._prompts.append(tenant, dialect.name, start, kept, end_user=end_user)
        except (PromptDigestError, DaemonError) as error:
            _log.warning("prompt not kept: %s", error)
            return None
        return kept[-1].digest if kept else start

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
        task = asyncio.create_task(
            self._absorb_messages(tenant, dialect, messages, origins, end_user)
        )
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """End the background work. May be called twice."""
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _absorb_messages(
        self,
        tenant: str,
        dialect: Dialect,
        messages: Sequence[Json],
        origins: Collection[str],
        end_user: str | None,
    ) -> None:
        form = await asyncio.to_thread(ref_form, dialect, messages, origins)
        try:
            await self._absorb_all(tenant, form.inline, end_user)
        except DaemonError as error:
            _log.warning("inline blobs not absorbed: %s", error)

    async def _absorb_all(
        self, tenant: str, blobs: Sequence[InlineBlob], end_user: str | None
    ) -> None:
        """Take each blob once, a few at a time: most of an upload is waiting for the disk."""
        unique = {blob.digest: blob for blob in blobs}
        held = await self._held(tenant, unique, end_user) if unique else ()
        absent = [blob for digest, blob in unique.items() if digest not in held]
        for start in range(0, len(absent), _ABSORBED_AT_ONCE):
            batch = absent[start : start + _ABSORBED_AT_ONCE]
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


def _prepare(
    dialect: Dialect, messages: Sequence[Json], origins: Collection[str], parent: Digest
) -> tuple[list[InlineBlob], list[KeptMessage]]:
    """Return what is to be stored of messages: their inline blobs, and themselves in ref form."""
    form = ref_form(dialect, messages, origins)
    digests = prompt_digests(dialect.name, form.messages, parent)
    kept = [
        KeptMessage(digest, encode_json(message).decode(), blobs)
        for digest, message, blobs in zip(digests, form.messages, form.blobs, strict=True)
    ]
    return form.inline, kept
