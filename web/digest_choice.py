"""Which digest fields an answer with a blob carries (RFC 9530).

`Repr-Digest` names the whole blob, whatever part of it is sent, and is told already: it goes with
every answer that carries content. `Content-Digest` names the content of this very answer: the
same for a whole blob, else a hash to be taken first, which is done for whoever asks and only where it
costs one piece. Whoever wants neither says so with `Want-*: sha-256=0`. SHA-256 is the one algorithm
here, so a wish for others changes nothing (section 4: preferences are advice).
"""

from dataclasses import dataclass

from aiohttp import web

from coatcheck.protocol import parse_digest_preference

from .conditions import field_value


@dataclass(frozen=True, slots=True)
class DigestChoice:
    """What a request says of digest fields."""

    has_representation: bool
    """Send Repr-Digest."""
    has_content: bool
    """Send Content-Digest where it costs nothing."""
    asks_content: bool
    """Send Content-Digest where it costs a little, too."""


def choose_digests(request: web.Request) -> DigestChoice:
    """Read Want-Repr-Digest and Want-Content-Digest."""
    content = _preference(request, "Want-Content-Digest")
    return DigestChoice(
        has_representation=_preference(request, "Want-Repr-Digest") != 0,
        has_content=content != 0,
        asks_content=bool(content),
    )


def _preference(request: web.Request, name: str) -> int | None:
    value = field_value(request.headers, name)
    return None if value is None else parse_digest_preference(value)
