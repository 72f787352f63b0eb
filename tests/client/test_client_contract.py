"""What both clients do with blobs, against any server. Only `client` depends on which.

A test for another server overrides the fixture `client` in a subclass.
"""

import io
import secrets
from pathlib import Path

import pytest
import urllib3
from PIL import Image

from coatcheck.client import (
    BlobName,
    BlobNotFoundError,
    Client,
    InvalidArgumentError,
    LocalFileError,
    MissingBlob,
)
from coatcheck.protocol import (
    Digest,
    InvalidMediaTypeError,
    ProtocolError,
    parse_ref,
)

TEXT = b"a ticket for a coat\n"  # any test may have put it before
ABSENT = Digest.of(b"nobody has this")


def _fresh(size: int = 40) -> bytes:
    """Bytes that no server has seen."""
    return secrets.token_bytes(size)


def _png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (31, 17), colour).save(file, "PNG")
    return file.getvalue()


class TestClientContract:
    def test_put_bytes_are_described(self, client: Client) -> None:
        png = _png()
        descriptor = client.put(png)
        assert descriptor.digest == Digest.of(png)
        assert descriptor.ref == f"blob:{descriptor.digest}"
        assert (descriptor.size, descriptor.media_type) == (len(png), "image/png")
        assert (descriptor.width, descriptor.height) == (31, 17)

    def test_put_bytes_come_back(self, client: Client) -> None:
        assert client.get(client.put(TEXT)) == TEXT

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_every_kind_of_bytes_can_be_put(
        self, client: Client, kind: type[bytes | bytearray]
    ) -> None:
        assert client.put(kind(TEXT)).digest == Digest.of(TEXT)

    def test_a_path_can_be_put_as_text_and_as_path(self, client: Client, tmp_path: Path) -> None:
        path = tmp_path / "ticket"
        path.write_bytes(TEXT)
        assert client.put(path) == client.put(str(path))

    def test_a_binary_file_is_put_from_where_it_stands_and_left_open(self, client: Client) -> None:
        file = io.BytesIO(b"skipped" + TEXT)
        file.seek(7)
        assert client.put(file).digest == Digest.of(TEXT)
        assert not file.closed

    def test_a_picture_can_be_put(self, client: Client) -> None:
        descriptor = client.put(Image.new("RGB", (31, 17), "red"))
        assert (descriptor.media_type, descriptor.width, descriptor.height) == ("image/png", 31, 17)
        assert Image.open(io.BytesIO(client.get(descriptor))).getpixel((3, 3)) == (255, 0, 0)

    def test_a_signed_url_opens_the_blob_without_a_key(self, client: Client) -> None:
        descriptor = client.put(TEXT)
        for name in (descriptor, descriptor.digest, descriptor.ref):
            signed = client.signed_url(name, expires_seconds=60)
            answer = urllib3.request("GET", signed.url, retries=False)
            assert (answer.status, answer.data) == (200, TEXT)
            assert f"expires={signed.expires_at}" in signed.url

    @pytest.mark.parametrize("seconds", [0, -1, 7 * 86_400 + 1, 1.5])
    def test_how_long_a_signed_url_lasts_is_bounded(self, client: Client, seconds: int) -> None:
        with pytest.raises(InvalidArgumentError, match="604800"):
            client.signed_url(client.put(TEXT), expires_seconds=seconds)

    def test_what_is_not_held_is_not_signed(self, client: Client) -> None:
        with pytest.raises(BlobNotFoundError):
            client.signed_url(ABSENT)

    def test_put_twice_gives_the_same_descriptor(self, client: Client) -> None:
        png = _png("blue")
        assert client.put(png) == client.put(png)

    def test_many_pieces_come_back_whole(self, client: Client, tmp_path: Path) -> None:
        data = bytes(range(256)) * 40_000 + b"and an odd end"
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(data)
        descriptor = client.put(source)
        assert client.get(descriptor, target) == b""
        assert target.read_bytes() == data

    def test_progress_ends_at_the_size(self, client: Client) -> None:
        data = _fresh(700_001)
        told: list[tuple[int, int]] = []
        client.put(data, progress=lambda sent, total: told.append((sent, total)))
        assert told[-1] == (len(data), len(data))
        assert [sent for sent, _ in told] == sorted({sent for sent, _ in told})

    def test_a_declared_type_is_described(self, client: Client) -> None:
        descriptor = client.put(_fresh(), media_type="Text/CSV; header=present")
        assert (descriptor.media_type, descriptor.ref) == ("text/csv", f"blob:{descriptor.digest}")

    def test_another_type_for_a_known_blob_stands_in_the_ref(self, client: Client) -> None:
        png = _png("green")
        client.put(png)
        descriptor = client.put(png, media_type="image/x-coat")
        assert descriptor.media_type == "image/x-coat"
        assert parse_ref(descriptor.ref).media_type == "image/x-coat"

    def test_a_blob_is_found_by_whatever_names_it(self, client: Client) -> None:
        put = client.put(TEXT)
        names: list[BlobName] = [put, put.digest, str(put.digest), put.ref, parse_ref(put.ref)]
        assert [client.get(name) for name in names] == [TEXT] * 5

    def test_stat_describes_what_is_there(self, client: Client) -> None:
        put = client.put(_fresh(), media_type="text/plain")
        assert client.stat(put.digest) == put

    def test_stat_knows_a_pictures_size(self, client: Client) -> None:
        assert client.stat(client.put(_png())) == client.put(_png())

    def test_stat_of_an_unknown_blob_is_none(self, client: Client) -> None:
        assert client.stat(ABSENT) is None

    def test_get_of_an_unknown_blob_raises_and_leaves_no_file(
        self, client: Client, tmp_path: Path
    ) -> None:
        with pytest.raises(BlobNotFoundError) as caught:
            client.get(ABSENT, tmp_path / "target")
        assert caught.value.missing == (MissingBlob(ABSENT),)
        assert list(tmp_path.iterdir()) == []

    def test_get_replaces_a_file(self, client: Client, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_bytes(b"before")
        client.get(client.put(TEXT), target)
        assert target.read_bytes() == TEXT
        assert list(tmp_path.iterdir()) == [target]

    def test_get_writes_into_a_file_from_where_it_stands(self, client: Client) -> None:
        file = io.BytesIO(b"before, overwritten")
        file.seek(7)
        assert client.get(client.put(TEXT), file) == b""
        assert file.getvalue() == b"before," + TEXT
        assert not file.closed

    def test_progress_of_a_download_ends_at_the_size(self, client: Client) -> None:
        data = _fresh(700_001)
        told: list[tuple[int, int]] = []
        client.get(client.put(data), progress=lambda got, total: told.append((got, total)))
        assert told[-1] == (len(data), len(data))
        assert [got for got, _ in told] == sorted({got for got, _ in told})
        assert {total for _, total in told} == {len(data)}

    def test_missing_names_each_once_in_order(self, client: Client) -> None:
        there = client.put(TEXT).digest
        other = Digest.of(b"nor this")
        assert client.missing([other, there, ABSENT, other]) == [other, ABSENT]

    def test_any_number_can_be_asked_for(self, client: Client) -> None:
        digests = [Digest.of(f"never put: {number}".encode()) for number in range(2001)]
        assert client.missing(digests) == digests
        assert client.missing([]) == []

    def test_a_deleted_blob_is_gone(self, client: Client) -> None:
        digest = client.put(TEXT).digest
        assert client.delete(digest).digest == digest
        assert client.stat(digest) is None
        with pytest.raises(BlobNotFoundError):
            client.delete(digest)

    def test_pin_and_unpin_may_be_repeated(self, client: Client) -> None:
        digest = client.put(TEXT).digest
        calls = (client.pin, client.pin, client.unpin, client.unpin)
        assert [call(digest).pinned for call in calls] == [True, True, False, False]

    def test_a_pin_on_an_unknown_blob_raises(self, client: Client) -> None:
        with pytest.raises(BlobNotFoundError):
            client.pin(ABSENT)

    def test_list_names_all_over_several_pages(self, client: Client) -> None:
        put = {client.put(str(number).encode()).digest for number in range(5)}
        entries = {entry.digest: entry for entry in client.list()}
        assert entries.keys() >= put
        assert all(entry.created_at > 0 for entry in entries.values())

    def test_an_empty_source_is_refused(self, client: Client) -> None:
        with pytest.raises(InvalidArgumentError, match="never empty"):
            client.put(b"")

    def test_a_path_that_is_not_there_is_named(self, client: Client, tmp_path: Path) -> None:
        with pytest.raises(LocalFileError, match="not-there"):
            client.put(tmp_path / "not-there")

    def test_a_target_that_cannot_be_written_is_named(self, client: Client, tmp_path: Path) -> None:
        descriptor = client.put(TEXT)
        for target in (tmp_path, tmp_path / "no-folder" / "target"):
            with pytest.raises(LocalFileError, match=target.name):
                client.get(descriptor, target)

    @pytest.mark.parametrize("name", ["", "sha256:", "blob:sha256:1", "SHA256:" + "0" * 64])
    def test_a_malformed_name_is_refused_before_anything_is_asked(
        self, client: Client, name: str
    ) -> None:
        for call in (client.stat, client.get, client.delete, client.pin):
            with pytest.raises(ProtocolError):
                call(name)

    def test_a_malformed_media_type_is_refused(self, client: Client) -> None:
        with pytest.raises(InvalidMediaTypeError):
            client.put(TEXT, media_type="text")
