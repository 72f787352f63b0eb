"""Which digest fields an answer with a blob carries (RFC 9530).

`Repr-Digest` names the whole blob, whatever part of it is sent, and is told already: it goes with
every answer that carries content. `Content-Digest` names the content of this very answer: the
same for a whole blob, else a hash to be taken first, which is done for whoever asks and only where it
costs one piece. Whoever wants neither says so with `Want-*: sha-256=0`. SHA-256 is the one algorithm
here, so a wish for others changes nothing (section 4: preferences are advice).
"""

from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDictProxy

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


_WITHOUT_WISHES = DigestChoice(has_representation=True, has_content=True, asks_content=False)


def choose_digests(request: web.Request) -> DigestChoice:
    """Read Want-Repr-Digest and Want-Content-Digest."""
    headers = request.headers
    if "Want-Repr-Digest" not in headers and "Want-Content-Digest" not in headers:
        return _WITHOUT_WISHES
    content = _preference(headers, "Want-Content-Digest")
    return DigestChoice(
        has_representation=_preference(headers, "Want-Repr-Digest") != 0,
        has_content=content != 0,
        asks_content=bool(content),
    )


def _preference(headers: CIMultiDictProxy[str], name: str) -> int | None:
    value = field_value(headers, name)
    return None if value is None else parse_digest_preference(value)
