import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from coatcheck.client import (
    BlobNotFoundError,
    ClientError,
    ConnectionFailedError,
    InvalidArgumentError,
    ServerError,
)
from coatcheck.client.dify.file_refs import FileRefs
from coatcheck.protocol import Descriptor, Digest

DATA = b"a coat"
KEY = ("local_file", "upload-1")
REF = f"blob:{Digest.of(DATA)}"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Store:
    """A store in memory; `failures` come first, one a call."""

    blobs: dict[Digest, str | None] = field(default_factory=dict[Digest, str | None])
    failures: list[ClientError] = field(default_factory=list[ClientError])
    puts: list[bytes] = field(default_factory=list[bytes])
    asked: int = 0
    during_put: Callable[[], object] = lambda: None

    def put(self, source: bytes, *, media_type: str | None = None) -> Descriptor:
        self._fail()
        self.during_put()
        self.puts.append(source)
        digest = Digest.of(source)
        self.blobs[digest] = media_type
        return Descriptor.of(digest=digest, size=len(source), media_type="application/octet-stream")

    def missing(self, names: Iterable[Digest]) -> list[Digest]:
        self._fail()
        self.asked += 1
        return [digest for digest in names if digest not in self.blobs]

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


class Shelf:
    """Files of an application, and how often one was read."""

    def __init__(self, store: Store, **options: int) -> None:
        self.clock = Clock()
        self.refs = FileRefs(
            store, clock=self.clock, checked_seconds=300, away_seconds=30, **options
        )
        self.reads = 0

    def ref(self, key: tuple[str, str] = KEY, data: bytes = DATA) -> str | None:
        def load() -> bytes:
            self.reads += 1
            return data

        ref = self.refs.ref(key, load, "image/png")
        return None if ref is None else str(ref)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def shelf(store: Store) -> Shelf:
    return Shelf(store)


def test_a_file_is_read_and_put_once(store: Store, shelf: Shelf) -> None:
    assert [shelf.ref() for _ in range(3)] == [REF] * 3
    assert (shelf.reads, len(store.puts), store.asked) == (1, 1, 0)


def test_the_store_is_asked_again_in_time_and_the_file_not_read(store: Store, shelf: Shelf) -> None:
    shelf.ref()
    shelf.clock.now += 299
    shelf.ref()
    assert store.asked == 0
    shelf.clock.now += 1
    assert shelf.ref() == REF
    assert shelf.ref() == REF
    assert (shelf.reads, len(store.puts), store.asked) == (1, 1, 1)


def test_what_the_store_lost_is_put_again(store: Store, shelf: Shelf) -> None:
    shelf.ref()
    store.blobs.clear()
    shelf.clock.now += 300
    assert shelf.ref() == REF
    assert shelf.ref() == REF
    assert (shelf.reads, len(store.puts), store.asked) == (2, 2, 1)


def test_two_kinds_of_record_with_one_id_are_two_files(store: Store, shelf: Shelf) -> None:
    assert shelf.ref() == REF
    other = shelf.ref(("tool_file", "upload-1"), b"a hat")
    assert other == f"blob:{Digest.of(b'a hat')}"
    assert shelf.ref() == REF


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailedError("refused"),
        ServerError(503, "store_failed", "down"),
        ServerError(401, "unauthorized", "no such key"),
        ServerError(507, "disk_full", "full"),
    ],
)
def test_a_store_that_is_away_is_left_alone_for_a_while(
    store: Store, shelf: Shelf, error: ClientError, caplog: pytest.LogCaptureFixture
) -> None:
    store.failures = [error]
    assert shelf.ref() is None
    shelf.clock.now += 29
    assert shelf.ref() is None
    assert shelf.ref(("local_file", "upload-2"), b"a hat") is None
    assert (shelf.reads, store.puts) == (1, [])
    assert [str(error) in record.getMessage() for record in caplog.records] == [True]
    shelf.clock.now += 1
    assert shelf.ref() == REF


@pytest.mark.parametrize(
    "error", [ServerError(413, "blob_too_large", "too large"), InvalidArgumentError("empty")]
)
def test_a_file_that_is_refused_leaves_the_others_alone(
    store: Store, shelf: Shelf, error: ClientError, caplog: pytest.LogCaptureFixture
) -> None:
    store.failures = [error]
    assert shelf.ref() is None
    assert shelf.ref() is None
    assert shelf.reads == 1
    assert "local_file/upload-1" in caplog.text
    assert shelf.ref(("local_file", "upload-2"), b"a hat") is not None
    shelf.clock.now += 30
    assert shelf.ref() == REF


def test_a_store_that_does_not_answer_a_question_gives_no_ref(store: Store, shelf: Shelf) -> None:
    shelf.ref()
    shelf.clock.now += 300
    store.failures = [BlobNotFoundError(())]
    assert shelf.ref() is None
    shelf.clock.now += 30
    assert shelf.ref() == REF
    assert shelf.reads == 1


def test_a_file_that_cannot_be_read_is_the_callers_error(store: Store, shelf: Shelf) -> None:
    def load() -> bytes:
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        shelf.refs.ref(KEY, load, None)
    assert shelf.ref() == REF


def test_the_files_used_longest_ago_are_forgotten(store: Store) -> None:
    shelf = Shelf(store, max_files=2)
    first, second, third = (("local_file", f"upload-{n}") for n in range(3))
    for key in (first, second, first, third, first):
        shelf.ref(key)
    assert shelf.reads == 3
    shelf.ref(second)
    assert shelf.reads == 4


@pytest.mark.parametrize(
    ("said", "declared"), [("Image/PNG; q=1", "image/png"), ("picture", None), (None, None)]
)
def test_the_media_type_goes_with_the_bytes_where_it_is_one(
    store: Store, shelf: Shelf, said: str | None, declared: str | None
) -> None:
    assert str(shelf.refs.ref(KEY, lambda: DATA, said)) == REF
    assert store.blobs == {Digest.of(DATA): declared}


def test_those_who_ask_at_once_wait_for_one_put(store: Store, shelf: Shelf) -> None:
    arrived = threading.Semaphore(0)
    others = 3

    def all_have_come() -> None:
        for _ in range(others):
            assert arrived.acquire(timeout=10)

    def ask() -> str | None:
        arrived.release()
        return shelf.ref()

    store.during_put = all_have_come
    with ThreadPoolExecutor(others + 1) as pool:
        first = pool.submit(shelf.ref)
        rest = [pool.submit(ask) for _ in range(others)]
        assert [done.result(10) for done in (first, *rest)] == [REF] * (others + 1)
    assert (shelf.reads, len(store.puts)) == (1, 1)


def test_one_files_put_does_not_keep_another_waiting(store: Store, shelf: Shelf) -> None:
    other: list[str | None] = []

    def put_another() -> None:
        store.during_put = lambda: None
        other.append(shelf.ref(("local_file", "upload-2"), b"a hat"))

    store.during_put = put_another
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(shelf.ref).result(10) == REF
    assert other == [f"blob:{Digest.of(b'a hat')}"]
