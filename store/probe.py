"""What is learned of a blob while its bytes pass: digest, checksums, what the content shows."""

from collections import OrderedDict
from typing import Final

from coatcheck.protocol import SNIFF_BYTES, Buffer, Hasher, ImageParser, sniff

from .index_rows import NewBlob
from .seed import Seeds

# Each takes a few hundred bytes, and 16 for each 4 MiB of its upload.
_KEPT: Final = 128


class Probe:
    """One pass over a blob's bytes, in order. Not safe for two threads at once."""

    def __init__(self, seeds: Seeds) -> None:
        """Checksums are made with the seed that is current now."""
        self._hasher = Hasher(seeds.current)
        self._seed_version = seeds.version
        self._parser = ImageParser()
        self._head = b""

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._hasher.size

    def update(self, data: Buffer) -> None:
        """Take the next bytes, any number of them."""
        self._hasher.update(data)
        self._parser.feed(data)
        if len(self._head) < SNIFF_BYTES:
            self._head += bytes(memoryview(data)[: SNIFF_BYTES - len(self._head)])

    def blob(self) -> NewBlob:
        """Say what the bytes so far are."""
        image = self._parser.info()
        return NewBlob(
            digest=self._hasher.digest(),
            size=self._hasher.size,
            sniffed_type=sniff(self._head),
            width=image.width if image else None,
            height=image.height if image else None,
            frames=image.frames if image else None,
            checksums=self._hasher.checksums(),
            seed_version=self._seed_version,
        )


class Probes:
    """Those of uploads that may go on in another request, the last ones used. By upload id."""

    def __init__(self) -> None:
        self._probes: OrderedDict[str, Probe] = OrderedDict()

    def take(self, upload_id: str, size: int) -> Probe | None:
        """Return the probe that has seen exactly so many bytes, once; None where there is none."""
        probe = self._probes.pop(upload_id, None)
        return probe if probe is not None and probe.size == size else None

    def keep(self, upload_id: str, probe: Probe) -> None:
        """Remember a probe, and forget the one that was not used for longest where there are many."""
        self._probes[upload_id] = probe
        while len(self._probes) > _KEPT:
            self._probes.popitem(last=False)
