import copy
import random
from collections.abc import Iterator

import pytest

from coatcheck.client import Client
from coatcheck.client.dify.composing import (
    MarkedFunction,
    composed,
    mark_prompts,
    unmark_prompts,
)
from coatcheck.client.dify.file_refs import FileRefs
from coatcheck.client.dify.file_runtime import RefFileRuntime
from coatcheck.protocol import Digest

from ..conftest import FakeServer
from .structural import SIGNED, File, FileManager, Storage, to_prompt_message_content

DATA = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(2_600_000)
REF = f"blob:{Digest.of(DATA)}"


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(server.base_url) as made:
        yield made


@pytest.fixture
def storage() -> Storage:
    return Storage(files={"upload-1": DATA})


@pytest.fixture
def runtime(storage: Storage, client: Client) -> RefFileRuntime:
    return RefFileRuntime(storage, FileRefs(client))


@pytest.fixture
def file_manager() -> FileManager:
    made = FileManager()
    mark_prompts(made)
    return made


def test_a_prompt_gets_a_ref_and_the_file_is_read_for_the_first_turn_alone(
    server: FakeServer, storage: Storage, runtime: RefFileRuntime, file_manager: FileManager
) -> None:
    for _ in range(2):  # another object each turn, as Dify makes them
        content = file_manager.content(File(runtime))
        assert (content.base64_data, content.url, content.mime_type) == ("", REF, "image/png")
    assert storage.read == ["upload-1"]
    assert [seen.body for seen in server.sent("PUT")] == [DATA]
    assert server.blobs[Digest.of(DATA)] == (DATA, "image/png")


def test_only_a_prompt_gets_a_ref(runtime: RefFileRuntime, file_manager: FileManager) -> None:
    file = File(runtime)
    assert file_manager.content(file).url == REF
    assert file.to_plugin_parameter() == {"url": SIGNED.format("upload-1") + "&internal=1"}
    assert file.generate_url() == SIGNED.format("upload-1")
    assert file.markdown == f"![]({SIGNED.format('upload-1')})"


def test_while_a_prompt_is_written_its_own_file_alone_has_a_ref(runtime: RefFileRuntime) -> None:
    seen: list[str | None] = []

    def compose(f: File, /) -> None:
        assert f.runtime.multimodal_send_format == "url"
        seen.append(File(runtime, related_id="upload-2").generate_url())
        seen.append(f.to_plugin_parameter()["url"])
        seen.append(f.generate_url())

    MarkedFunction(compose)(File(runtime))
    signed = SIGNED.format("upload-1")
    assert seen == [SIGNED.format("upload-2"), signed + "&internal=1", REF]
    assert composed() is None


def test_a_file_that_is_not_for_whoever_asks_has_no_ref(
    storage: Storage, runtime: RefFileRuntime, file_manager: FileManager
) -> None:
    assert file_manager.content(File(runtime)).url == REF
    storage.denied.add("upload-1")
    with pytest.raises(ValueError, match="upload-1 not found"):
        file_manager.content(File(runtime))
    assert composed() is None


@pytest.mark.parametrize("form", ["base64", "url"])
def test_without_its_store_a_file_goes_as_before_and_is_read_once(
    form: str,
    server: FakeServer,
    client: Client,
    storage: Storage,
    runtime: RefFileRuntime,
    file_manager: FileManager,
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage.multimodal_send_format = form
    client.close()  # answers as a store that is away does: with a ClientError
    expected = to_prompt_message_content(File(storage))
    storage.read.clear()
    assert file_manager.content(File(runtime)) == expected
    assert storage.read == ["upload-1"]
    assert "files go without refs" in caplog.text
    assert file_manager.content(File(runtime)) == expected
    assert storage.read == ["upload-1"] * (2 if form == "base64" else 1)
    assert server.seen == []


def test_nobody_listens_where_the_store_was(
    storage: Storage, file_manager: FileManager, unused_tcp_port: int
) -> None:
    with Client(f"http://127.0.0.1:{unused_tcp_port}") as client:
        runtime = RefFileRuntime(storage, FileRefs(client))
        content = file_manager.content(File(runtime))
    assert content == to_prompt_message_content(File(storage))


def test_a_remote_url_is_not_ours(
    server: FakeServer, storage: Storage, runtime: RefFileRuntime, file_manager: FileManager
) -> None:
    storage.multimodal_send_format = "url"
    file = File(runtime, transfer_method="remote_url", remote_url="https://example.org/coat.png")
    assert file_manager.content(file).url == "https://example.org/coat.png"
    assert server.seen == []


def test_a_file_without_a_record_is_not_ours(
    server: FakeServer, storage: Storage, runtime: RefFileRuntime, file_manager: FileManager
) -> None:
    storage.files[None] = b"nameless"
    assert file_manager.content(File(runtime, related_id=None)).base64_data == "bmFtZWxlc3M="
    assert server.seen == []


def test_without_marks_there_are_no_refs_and_one_warning(
    runtime: RefFileRuntime, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert FileManager().content(File(runtime)) == to_prompt_message_content(File(storage))
    (record,) = caplog.records
    assert "mark_prompts" in record.getMessage()


def test_marks_are_made_once_and_taken_away_without_a_trace() -> None:
    file_manager = FileManager()
    for _ in range(2):
        mark_prompts(file_manager)
    marked = file_manager.to_prompt_message_content
    assert isinstance(marked, MarkedFunction)
    assert marked.plain is to_prompt_message_content
    assert marked.__doc__ == to_prompt_message_content.__doc__
    for _ in range(2):
        unmark_prompts(file_manager)
        assert file_manager.to_prompt_message_content is to_prompt_message_content


def test_everything_else_is_the_wrapped_runtimes(runtime: RefFileRuntime, storage: Storage) -> None:
    assert runtime.files_url == storage.files_url
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = runtime.no_such_thing
    assert copy.copy(runtime).files_url == storage.files_url
