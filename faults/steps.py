"""What a program does with a store, step by step, noting what it asked and what it was told.

A step that is refused because the disk failed is tried again, as a client would.
"""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

from coatcheck.protocol import PIECE_BYTES, Digest, Json, prompt_root, prompt_step
from coatcheck.store import (
    BlobNotFoundError,
    DigestMismatchError,
    NewUpload,
    PromptMessage,
    Store,
    StoredFileNotFoundError,
    StoreUnavailableError,
)

from .ledger import Ledger, Line, Mark, content, digest_of
from .persist import body, persist

SMALL, SLABS = 20_000, PIECE_BYTES + 70_000
DIALECT = "openai.chat"


class Steps:
    """Does them one after another."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def put(self, tenant: str, name: str, size: int, end_user: str = "") -> None:
        """Upload the bytes of this name."""
        data = content(name, size)
        digest = Digest.of(data)

        async def work() -> float:
            receipt = await self._store.receive(
                tenant,
                body(data),
                declared_type="image/png",
                expected_size=size,
                end_user=end_user or None,
            )
            return receipt.grant.lease_expires_at or 0.0

        await self._step("put", work, tenant, digest, end_user=end_user)

    async def put_sections(self, tenant: str, name: str, size: int) -> None:
        """Upload the bytes of this name in sections, the last one first; whoever tries again begins anew."""
        data = content(name, size)
        pieces = [data[: size // 2], data[size // 2 : -1], data[-1:]]

        async def work() -> float:
            uploads, sections = self._store.uploads, self._store.sections
            whole = await uploads.create(NewUpload(tenant, length=size, media_type="image/png"))
            names: list[str] = []
            for piece in reversed(pieces):
                section = await sections.add(tenant, whole.id, body(piece))
                names.insert(0, section.section_name)
            await sections.join(tenant, whole.id, names)
            receipt = await uploads.finish(tenant, whole.id)
            await sections.remove(tenant, whole.id)
            return receipt.grant.lease_expires_at or 0.0

        await self._step("put", work, tenant, Digest.of(data))

    async def put_other(self, tenant: str, name: str, size: int) -> None:
        """Promise the bytes of this name and send others."""
        digest = digest_of(f"not {name}", size)

        async def work() -> float:
            with suppress(DigestMismatchError):
                await self._store.receive(tenant, body(content(name, size)), expected=digest)
                raise AssertionError("other bytes than promised were taken")
            return 0.0

        await self._step("mismatch", work, tenant)

    async def pin(self, tenant: str, name: str, size: int) -> None:
        """Pin a blob."""
        digest = digest_of(name, size)

        async def work() -> float:
            await self._store.pin(tenant, digest)
            return 0.0

        await self._step("pin", work, tenant, digest)

    async def release(self, tenant: str, name: str, size: int) -> None:
        """Let go of a blob that nothing else holds."""
        digest = digest_of(name, size)

        tries = 0

        async def work() -> float:
            nonlocal tries
            tries += 1
            try:
                assert await self._store.release(tenant, digest) == []
            except BlobNotFoundError:
                if tries == 1:
                    raise
                # else it was done before, and the answer was lost
            return 0.0

        await self._step("release", work, tenant, digest)

    async def key(self, tenant: str) -> None:
        """Make a key."""

        async def work() -> str:
            return (await self._store.keys.create(tenant=tenant, scopes={"read"})).info.id

        await self._step("key", work, tenant)

    async def prompt(self, tenant: str, name: str, size: int, end_user: str = "") -> None:
        """Append a message that names a blob, and ask for it once it is written."""
        blob = digest_of(name, size)
        message: dict[str, Json] = {"role": "user", "content": f"blob:{blob}"}
        text = json.dumps(message)
        root = prompt_root(DIALECT)
        digest = prompt_step(root, message)

        async def work() -> str:
            steps = [PromptMessage(digest, text, (blob,))]
            await self._store.prompts.append(
                tenant, DIALECT, root, steps, end_user=end_user or None
            )
            await self._store.prompts.flush()
            if await self._store.prompts.expand(tenant, DIALECT, digest) is None:
                raise StoreUnavailableError("the prompt was lost, as it may be")
            return text

        await self._step("prompt", work, tenant, digest, end_user=end_user)

    async def read(self, tenant: str, name: str, size: int) -> None:
        """Read a blob back."""
        digest = digest_of(name, size)

        async def work() -> float:
            async with await self._store.open_blob(tenant, digest) as reader:
                parts = [bytes(chunk) async for chunk in reader.chunks()]
            assert b"".join(parts) == content(name, size), f"{name} reads back otherwise"
            return 0.0

        await self._step("read", work, tenant, digest)

    async def file(self, tenant: str, name: str, size: int, end_user: str = "") -> str:
        """Make a file of a blob; return its id."""
        digest = digest_of(name, size)

        async def work() -> str:
            file = await self._store.files.create(
                tenant, digest, filename=f"{name} of {end_user}", purpose="vision"
            )
            return file.id

        file_id = await persist(self._ledger, "file", work, tenant, digest)
        self._ledger.write(Line(Mark.DONE, "file", tenant, digest, id=file_id, end_user=end_user))
        return file_id

    async def remove_file(self, tenant: str, file_id: str) -> None:
        """End a file."""
        tries = 0

        async def work() -> float:
            nonlocal tries
            tries += 1
            try:
                await self._store.files.remove(tenant, file_id)
            except StoredFileNotFoundError:
                if tries == 1:
                    raise
                # else it was done before, and the answer was lost
            return 0.0

        self._ledger.write(Line(Mark.BEGUN, "remove file", tenant, id=file_id))
        await persist(self._ledger, "remove file", work, tenant)
        self._ledger.write(Line(Mark.DONE, "remove file", tenant, id=file_id))

    async def sweep(self) -> None:
        """Remove what is due."""

        async def work() -> float:
            await self._store.sweep.run()
            return 0.0

        await self._step("sweep", work, "")

    async def erase(self, tenant: str, end_user: str) -> None:
        """Erase an end user, until nothing is left."""

        async def work() -> float:
            erased = await self._store.erasure.erase_end_user(tenant, end_user)
            if erased.left is None or not erased.left.is_nothing:
                raise StoreUnavailableError(f"the erasure left {erased.left}, as it may once")
            return 0.0

        self._ledger.write(Line(Mark.BEGUN, "erase", tenant, end_user=end_user))
        await self._step("erase", work, tenant, end_user=end_user)

    async def _step(
        self,
        step: str,
        work: Callable[[], Awaitable[float | str]],
        tenant: str,
        digest: str = "",
        end_user: str = "",
    ) -> None:
        said = await persist(self._ledger, step, work, tenant, digest)
        text, until = (said, 0.0) if isinstance(said, str) else ("", said)
        self._ledger.write(Line(Mark.DONE, step, tenant, digest, text, until, end_user=end_user))
