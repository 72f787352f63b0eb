"""The one place that touches `brotli`, which comes without types."""

from typing import Protocol, cast

import brotli  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]


class BrotliStream(Protocol):
    """A decoder of one Brotli stream (RFC 7932), as `brotli.Decompressor` is one."""

    def process(self, data: bytes, output_buffer_limit: int) -> bytes:
        """Take bytes, return some of what they decode to: about `output_buffer_limit`.

        Raises:
            brotli.error: the bytes are no Brotli, or follow its end.
        """
        ...

    def can_accept_more_data(self) -> bool:
        """Whether it may be given more; some of what was given may be owed still."""
        ...

    def is_finished(self) -> bool:
        """Whether the stream has ended and all of it was returned."""
        ...


def open_brotli() -> BrotliStream:
    """Return a decoder at the start of a stream."""
    return cast(BrotliStream, brotli.Decompressor())  # pyright: ignore[reportUnknownMemberType]


BROTLI_ERROR = cast(type[Exception], brotli.error)  # pyright: ignore[reportUnknownMemberType]
"""What it raises for bytes that are no Brotli."""
