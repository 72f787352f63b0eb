"""What a daemon may expect of its sources, embedded or remote: one contract for both."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coatcheck.daemon import (
    BlobSource,
    EmbeddedBlobs,
    EmbeddedPrompts,
    EmbeddedResponses,
    KeptMessage,
    NamedResponse,
    PromptSource,
    RemoteStore,
    ResponseSource,
)
from coatcheck.daemon.errors import BlobUnreadableError, NotKeptError
from coatcheck.protocol import (
    PIECE_BYTES,
    Digest,
    Json,
    encode_json,
    piece_count,
    prompt_digests,
    prompt_root,
)
from coatcheck.store import Store, StoreConfig

from .remote import StoreServer, open_remote

CHAT = "openai.chat"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
LARGE = bytes(range(256)) * (PIECE_BYTES // 256) + b"and a half"
MESSAGES: list[Json] = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": 'two \u00e9 \\ " 1.0'},
]
KEPT = [
    KeptMessage(digest, encode_json(message).decode(), ())
    for digest, message in zip(prompt_digests(CHAT, MESSAGES), MESSAGES, strict=True)
]


class SourceContract(ABC):
    """Subclasses give the three sources, over a store where `a` and `b` are tenants."""

    @pytest.fixture
    @abstractmethod
    def blobs(self) -> BlobSource: ...

    @pytest.fixture
    @abstractmethod
    def prompts(self) -> PromptSource: ...

    @pytest.fixture
    @abstractmethod
    def responses(self) -> ResponseSource: ...

    async def test_what_was_absorbed_resolves_and_reads(self, blobs: BlobSource) -> None:
        for data in (PNG, LARGE):
            digest = await blobs.absorb("a", data, None)
            assert digest == Digest.of(data)
            resolved = (await blobs.resolve("a", [digest]))[digest]
            assert (resolved.digest, resolved.size) == (digest, len(data))
            assert await blobs.prepare("a", [resolved]) in ((), set())
            reader = await blobs.open("a", digest)
            pieces = range(piece_count(reader.size))
            read = b"".join([bytes(await reader.read_piece(index)) for index in pieces])
            await reader.close()
            await reader.close()
            assert read == data

    async def test_a_bare_ref_is_what_the_content_shows(self, blobs: BlobSource) -> None:
        digest = await blobs.absorb("a", PNG, "text/plain")
        other = await blobs.absorb("a", b"anything", "text/plain")
        resolved = await blobs.resolve("a", [digest, other])
        assert resolved[digest].media_type == "image/png"
        assert resolved[other].media_type == "text/plain"

    async def test_pieces_are_read_in_any_order(self, blobs: BlobSource) -> None:
        digest = await blobs.absorb("a", LARGE, None)
        reader = await blobs.open("a", digest)
        assert bytes(await reader.read_piece(1)) == LARGE[PIECE_BYTES:]
        assert bytes(await reader.read_piece(0)) == LARGE[:PIECE_BYTES]
        with pytest.raises(IndexError):
            await reader.read_piece(2)
        await reader.close()

    async def test_tenants_share_bytes_and_no_knowledge(self, blobs: BlobSource) -> None:
        digest = await blobs.absorb("a", PNG, None)
        assert list(await blobs.resolve("a", [digest])) == [digest]
        assert await blobs.resolve("b", [digest]) == {}
        with pytest.raises(BlobUnreadableError):
            await blobs.open("b", digest)

    async def test_what_a_tenant_holds_is_told_without_a_use(self, blobs: BlobSource) -> None:
        mine = await blobs.absorb("a", b"mine", None)
        absent = Digest.of(b"absent")
        assert set(await blobs.held("a", [mine, absent])) == {mine}
        assert not set(await blobs.held("b", [mine, absent]))

    async def test_nothing_resolves_to_nothing(self, blobs: BlobSource) -> None:
        assert await blobs.resolve("a", []) == {}
        unknown = [Digest.of(b"unknown")] * 2
        assert await blobs.resolve("a", unknown) == {}

    async def test_more_than_one_request_may_hold(self, blobs: BlobSource) -> None:
        digest = await blobs.absorb("a", PNG, None)
        many = [Digest.of(str(index).encode()) for index in range(1500)]
        assert list(await blobs.resolve("a", [*many, digest])) == [digest]

    async def test_nothing_is_not_kept(self, blobs: BlobSource) -> None:
        with pytest.raises(NotKeptError):
            await blobs.absorb("a", b"", None)

    async def test_a_prompt_comes_back_as_it_was(self, prompts: PromptSource) -> None:
        await prompts.append("a", CHAT, prompt_root(CHAT), KEPT[:1])
        await prompts.append("a", CHAT, KEPT[0].digest, KEPT[1:])
        await prompts.append("a", CHAT, KEPT[0].digest, KEPT[1:])
        await prompts.append("a", CHAT, KEPT[1].digest, [])
        texts = [message.text for message in KEPT]
        assert await prompts.expand("a", CHAT, KEPT[1].digest) == texts
        assert await prompts.expand("a", CHAT, KEPT[0].digest) == texts[:1]

    async def test_a_prompt_is_one_tenants_in_one_dialect(self, prompts: PromptSource) -> None:
        await prompts.append("a", CHAT, prompt_root(CHAT), KEPT)
        assert await prompts.expand("b", CHAT, KEPT[1].digest) is None
        assert await prompts.expand("a", "gemini.generate", KEPT[1].digest) is None
        assert await prompts.expand("a", CHAT, Digest.of(b"none")) is None

    async def test_what_continues_nothing_is_not_kept(self, prompts: PromptSource) -> None:
        with pytest.raises(NotKeptError):
            await prompts.append("a", CHAT, KEPT[0].digest, KEPT[1:])

    async def test_an_id_names_a_kept_list_for_its_tenant(
        self, prompts: PromptSource, responses: ResponseSource
    ) -> None:
        named = NamedResponse(CHAT, KEPT[1].digest, 1, "vision")
        with pytest.raises(NotKeptError):
            await responses.put("a", "resp_1", named)
        await prompts.append("a", CHAT, prompt_root(CHAT), KEPT)
        await responses.put("a", "resp_1", named, end_user="ann")
        await responses.put("a", "resp_1", named)
        assert await responses.find("a", "resp_1") == named
        assert await responses.find("b", "resp_1") is None
        assert await responses.find("a", "resp_2") is None
        with pytest.raises(NotKeptError):
            await responses.put("b", "resp_1", named)
        assert not await responses.remove("b", "resp_1")
        assert await responses.remove("a", "resp_1")
        assert not await responses.remove("a", "resp_1")
        assert await responses.find("a", "resp_1") is None


class TestEmbedded(SourceContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with await Store.open(StoreConfig(data_folder=None)) as opened:
            yield opened

    @pytest.fixture
    def blobs(self, store: Store) -> BlobSource:
        return EmbeddedBlobs(store)

    @pytest.fixture
    def prompts(self, store: Store) -> PromptSource:
        return EmbeddedPrompts(store)

    @pytest.fixture
    def responses(self, store: Store) -> ResponseSource:
        return EmbeddedResponses(store)


class TestRemote(SourceContract):
    @pytest.fixture
    async def remote(self, tmp_path: Path) -> AsyncIterator[RemoteStore]:
        store = await StoreServer.open()
        remote = await open_remote(store, tmp_path)
        yield remote
        await remote.close()
        await store.close()

    @pytest.fixture
    def blobs(self, remote: RemoteStore) -> BlobSource:
        return remote.blobs

    @pytest.fixture
    def prompts(self, remote: RemoteStore) -> PromptSource:
        return remote.prompts

    @pytest.fixture
    def responses(self, remote: RemoteStore) -> ResponseSource:
        return remote.responses
