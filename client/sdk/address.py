"""Where an SDK's requests go: which of them are Coatcheck's, and under which URL there."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import httpx2

Address: TypeAlias = "Callable[[httpx2.URL], httpx2.URL | None]"
"""Returns the URL at Coatcheck for one that an SDK asks for; None: it goes where it says."""

_MAX_URLS = (
    64  # an SDK asks for a few again and again, and taking them apart costs as much as all the rest
)


def everything(origin: "httpx2.URL") -> Address:
    """Send all requests to Coatcheck at `origin`, each under its own path."""

    @lru_cache(_MAX_URLS)
    def map_url(url: "httpx2.URL") -> "httpx2.URL":
        return _at(url, origin, url.raw_path)

    return map_url


def as_written(base: "httpx2.URL") -> Address:
    """Take requests to the host of `base`, which is Coatcheck's, where they go already."""
    return lambda url: url if is_same_origin(url, base) else None


def below(base: "httpx2.URL", origin: "httpx2.URL", base_path: str) -> Address:
    """Send to `origin` what is below a provider's `base`, under `base_path` in its place.

    What an SDK sends elsewhere (a redirect's target, say) goes there: it is not Coatcheck's business.
    """
    prefix = base.raw_path.rstrip(b"/")

    @lru_cache(_MAX_URLS)
    def map_url(url: "httpx2.URL") -> "httpx2.URL | None":
        path = url.raw_path
        if not is_same_origin(url, base) or not path.startswith(prefix + b"/"):
            return None
        return _at(url, origin, base_path.encode() + path[len(prefix) :])

    return map_url


def _at(url: "httpx2.URL", origin: "httpx2.URL", raw_path: bytes) -> "httpx2.URL":
    return url.copy_with(
        scheme=origin.scheme, host=origin.host, port=origin.port, raw_path=raw_path
    )


def is_same_origin(one: "httpx2.URL", other: "httpx2.URL") -> bool:
    """Whether two URLs are of one server."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
