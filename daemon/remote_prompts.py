"""Prompts in a store on another host, remembered here, and kept here at first while it is away."""

from collections.abc import Callable, Sequence

from coatcheck.client import DigestMismatchError, PromptNotFoundError, ServerError, StoreLink
from coatcheck.protocol import MAX_DIGESTS, Digest, PromptStep, prompt_appends

from .availability import Availability, not_kept
from .errors import NotKeptError, StoreUnavailableError
from .prompt_memory import PromptMemory
from .prompt_outbox import Parcel, PromptOutbox
from .remembered import FRESH_SECONDS, STALE_SECONDS
from .source import KeptMessage, PromptKey


class RemotePrompts:
    """A `PromptSource` over the same link. Close it before that."""

    def __init__(
        self, link: StoreLink, availability: Availability, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._availability = availability
        self._clock = clock
        self._memory = PromptMemory()
        self._outbox = PromptOutbox(self._bring)

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        """Return the texts of a kept list; see `PromptSource.expand`."""
        now = self._clock()
        is_on_the_way = self._outbox.has(PromptKey(tenant, dialect, digest))
        age = STALE_SECONDS if is_on_the_way else FRESH_SECONDS
        known = self._memory.get(tenant, dialect, digest, now, max_age_seconds=age)
        if known is not None:
            return known
        known = self._memory.get(tenant, dialect, digest, now, max_age_seconds=STALE_SECONDS)
        try:
            texts = await self._ask(tenant, dialect, digest, known)
        except StoreUnavailableError:
            if known is None:
                raise
            return known
        if texts is not None:
            self._memory.put_list(tenant, dialect, digest, texts, now)
        return texts

    async def _ask(
        self, tenant: str, dialect: str, digest: Digest, known: list[str] | None
    ) -> list[str] | None:
        """Return what the store keeps; messages that are known do not come again."""
        async with self._availability.asking():
            if known is None:
                return await self._link.expand(tenant, dialect, digest)
            return known if await self._link.has_prompt(tenant, dialect, digest) else None

    async def append(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        *,
        end_user: str | None = None,
    ) -> None:
        """Keep messages, here at first where the store is away; see `PromptSource.append`."""
        if not messages:
            return
        if any(len(message.blobs) > MAX_DIGESTS for message in messages):
            raise NotKeptError(f"a message names more than {MAX_DIGESTS} blobs")
        key = PromptKey(tenant, dialect, parent)
        await self._outbox.put(Parcel(key, messages, end_user))
        self._memory.put_messages(tenant, dialect, parent, messages, self._clock())

    async def flush(self) -> None:
        """Return when what was appended before is with the store, or lost."""
        await self._outbox.flush()

    async def close(self) -> None:
        """Bring what is on its way, for a short time. May be called twice."""
        await self._outbox.close()

    async def _bring(self, parcel: Parcel) -> None:
        """Hand messages over to the store."""
        tenant, dialect, parent = parcel.parent.tenant, parcel.parent.dialect, parcel.parent.digest
        steps = [
            PromptStep(digest=message.digest, text=message.text, blobs=message.blobs)
            for message in parcel.messages
        ]
        async with self._availability.asking():
            try:
                for wanted in prompt_appends(dialect, parent, steps):
                    await self._link.append(tenant, wanted, end_user=parcel.end_user)
            except (PromptNotFoundError, ServerError, DigestMismatchError) as error:
                raise not_kept(error) from error
