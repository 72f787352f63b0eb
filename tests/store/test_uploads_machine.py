"""Uploads in parts against a dict: any cuts, at any time, with kills in between.

A kill is what it leaves: the data folder as it lies there while a request is writing, opened anew.
The real one is in `test_upload_crash.py`. `COATCHECK_NIGHTLY` tries ten times as many orders.
"""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from coatcheck.protocol import Digest
from coatcheck.store import (
    EmptyBlobError,
    NewUpload,
    Store,
    StoreConfig,
    UploadIncompleteError,
    UploadNotFoundError,
    UploadOffsetError,
    UploadTooLongError,
)

pytestmark = pytest.mark.timeout(900)

LIFE = 1000
LENGTH = 3_000_000
CONTENT = random.Random(5).randbytes(LENGTH)
cuts = st.sampled_from([0, 1, 700, 65_536, 1_048_576, 1_048_577, 2_500_000])


@dataclass
class Known:
    """What the dict knows of one upload."""

    tenant: str
    length: int | None
    expires_at: float
    offset: int = 0
    finished: bool = False
    gone: bool = False


class UploadMachine(RuleBasedStateMachine):
    """Each rule does the same to both; the invariant compares them."""

    ids: Bundle[str] = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folders = 0
        self.now = 1_000_000.0
        self.model: dict[str, Known] = {}
        self.runner = asyncio.Runner()

    @property
    def folder(self) -> Path:
        return self.root / str(self.folders)

    @initialize()
    def begin(self) -> None:
        self.store = self.runner.run(self.open())

    async def open(self) -> Store:
        config = StoreConfig(self.folder, upload_seconds=LIFE, max_uploads_per_tenant=1000)
        return await Store.open(config, clock=lambda: self.now)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.root)

    def known(self, upload_id: str) -> Known | None:
        known = self.model[upload_id]
        return None if known.gone or known.expires_at <= self.now else known

    @rule(
        target=ids, tenant=st.sampled_from(["a", "b"]), length=st.sampled_from([None, LENGTH, 700])
    )
    def create(self, tenant: str, length: int | None) -> str:
        upload = self.runner.run(self.store.uploads.create(NewUpload(tenant, length)))
        self.model[upload.id] = Known(tenant, length, self.now + LIFE)
        return upload.id

    @rule(upload_id=ids, size=cuts, breaks=st.booleans(), shift=st.sampled_from([0, 0, 0, 1, -1]))
    def append(self, upload_id: str, size: int, breaks: bool, shift: int) -> None:
        known = self.known(upload_id)
        tenant = self.model[upload_id].tenant
        at = self.model[upload_id].offset + shift
        data = CONTENT[max(at, 0) :][:size]

        async def body() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 60_000):
                yield data[start : start + 60_000]
            if breaks:
                raise ConnectionResetError

        append = self.store.uploads.append(tenant, upload_id, at, body())
        if known is None:
            with pytest.raises(UploadNotFoundError):
                self.runner.run(append)
        elif shift:
            with pytest.raises(UploadOffsetError):
                self.runner.run(append)
        elif known.length is not None and at + len(data) > known.length:
            with pytest.raises(UploadTooLongError):
                self.runner.run(append)
            if not known.finished:
                self.advance_to(known, at + (known.length - at) // 60_000 * 60_000)
        elif breaks:
            with pytest.raises(ConnectionResetError):
                self.runner.run(append)
            self.advance_to(known, at + len(data))
        else:
            assert self.runner.run(append).offset == at + len(data)
            self.advance_to(known, at + len(data))

    def advance_to(self, known: Known, offset: int) -> None:
        if offset > known.offset:
            known.offset, known.expires_at = offset, self.now + LIFE

    @rule(upload_id=ids)
    def finish(self, upload_id: str) -> None:
        known = self.known(upload_id)
        finish = self.store.uploads.finish(self.model[upload_id].tenant, upload_id)
        if known is None:
            with pytest.raises(UploadNotFoundError):
                self.runner.run(finish)
        elif known.length is not None and known.offset < known.length:
            with pytest.raises(UploadIncompleteError):
                self.runner.run(finish)
        elif known.offset == 0:
            with pytest.raises(EmptyBlobError):
                self.runner.run(finish)
        else:
            receipt = self.runner.run(finish)
            assert receipt.grant.digest == Digest.of(CONTENT[: known.offset])
            if not known.finished:
                known.expires_at = self.now + LIFE
            known.finished, known.length = True, known.offset
            assert self.runner.run(self.read(known)) == CONTENT[: known.offset]

    async def read(self, known: Known) -> bytes:
        digest = Digest.of(CONTENT[: known.offset])
        async with await self.store.open_blob(known.tenant, digest, renew=False) as reader:
            return b"".join([bytes(chunk) async for chunk in reader.chunks()])

    @rule(upload_id=ids)
    def terminate(self, upload_id: str) -> None:
        known = self.known(upload_id)
        terminate = self.store.uploads.terminate(self.model[upload_id].tenant, upload_id)
        if known is None:
            with pytest.raises(UploadNotFoundError):
                self.runner.run(terminate)
        else:
            self.runner.run(terminate)
            known.gone = True

    @rule(seconds=st.sampled_from([1, LIFE // 2, LIFE]))
    def advance(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        due = [known for known in self.model.values() if known.expires_at <= self.now]
        left = [known for known in due if not known.gone and not known.finished]
        assert self.runner.run(self.store.sweep.run()).removed_uploads == len(left)
        for known in due:
            known.gone = True

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.store.close())
        self.store = self.runner.run(self.open())

    @rule(upload_id=ids, size=cuts)
    def kill(self, upload_id: str, size: int) -> None:
        """Go on with the folder as it was in the middle of a request, which nobody acknowledged."""
        known = self.known(upload_id)
        offset = known.offset if known is not None and not known.finished else 0
        data = CONTENT[offset:][:size]
        self.runner.run(self.killed(upload_id, offset, data))

    async def killed(self, upload_id: str, offset: int, data: bytes) -> None:
        written = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield data
            written.set()
            await asyncio.Event().wait()

        tenant = self.model[upload_id].tenant
        task = asyncio.create_task(self.store.uploads.append(tenant, upload_id, offset, body()))
        waiting = asyncio.create_task(written.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await asyncio.to_thread(
            shutil.copytree,
            self.folder,
            self.root / str(self.folders + 1),
        )
        await self.store.close()
        await asyncio.wait([task])
        task.exception()
        self.folders += 1
        self.store = await self.open()

    @invariant()
    def both_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        for upload_id in self.model:
            known = self.known(upload_id)
            for tenant in ("a", "b"):
                found = self.runner.run(self.store.uploads.stat(tenant, upload_id))
                if known is None or known.tenant != tenant:
                    assert found is None
                    continue
                assert found is not None
                assert (found.offset, found.length) == (known.offset, known.length)
                assert found.is_finished == known.finished
                assert found.expires_at == known.expires_at
        lying = {path.name for path in (self.folder / "uploads").iterdir()}
        open_ones = {name for name, known in self.model.items() if not known.gone}
        assert lying <= {name for name in open_ones if not self.model[name].finished}


UploadMachine.TestCase.settings = settings(
    max_examples=150 if os.environ.get("COATCHECK_NIGHTLY") else 10,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestUploadMachine = UploadMachine.TestCase
