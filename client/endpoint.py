"""Where a client connects, as whom, and how long it waits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from coatcheck.protocol import DAEMON_HEADER, KEY_HEADER, USER_HEADER, is_end_user

from .errors import InvalidArgumentError

USER_AGENT = "coatcheck-client"

_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
_is_value = re.compile(r"([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?").fullmatch


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's origin and the key to use there.

    `connect_seconds` bounds making a connection. `idle_seconds` bounds each wait for the next
    bytes, in both directions, so it has to cover a model's time to first token; nothing bounds
    the total. `daemon` is how a daemon calls itself to its store; None for other clients.

    Raises:
        InvalidArgumentError: `base_url` is no http(s) origin, the key does not fit into a
            header, or a limit is not positive.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    connect_seconds: float = 10.0
    idle_seconds: float = 300.0
    daemon: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", _origin(self.base_url))
        if self.key is not None and not re.fullmatch(r"[\x21-\x7e]+", self.key):
            raise InvalidArgumentError("a key is visible ASCII without spaces")
        if self.connect_seconds <= 0 or self.idle_seconds <= 0:
            raise InvalidArgumentError("time limits are above zero")

    def headers(self, of_request: Mapping[str, str]) -> dict[str, str]:
        """Return a request's headers with the key and the agent's name.

        The key rides as a Bearer token; where the request has an Authorization of its own, meant
        for an upstream, it rides in `Coatcheck-Key`.

        Raises:
            InvalidArgumentError: a name or value cannot stand in a header (RFC 9110 section 5).
        """
        for name, value in of_request.items():
            if not _is_token(name) or not (_is_value(value) or _names_end_user(name, value)):
                raise InvalidArgumentError(f"not a header: {name[:40]!r}")
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **of_request}
        if self.daemon is not None:
            headers[DAEMON_HEADER] = self.daemon
        if self.key is not None:
            if any(name.lower() == "authorization" for name in of_request):
                headers[KEY_HEADER] = self.key
            else:
                headers["Authorization"] = f"Bearer {self.key}"
        return headers


def _names_end_user(name: str, value: str) -> bool:
    """The one header of ours that goes as UTF-8, where the others are ASCII."""
    return name.lower() == USER_HEADER.lower() and is_end_user(value)


def _origin(base_url: str) -> str:
    """Return `scheme://host[:port]`; an origin with `/v1` is a likely slip, so the error says so."""
    try:
        parts = urlsplit(base_url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise InvalidArgumentError(f"not a URL: {base_url[:200]!r}") from error
    if parts.scheme not in ("http", "https") or not has_host or not parts.netloc.isascii():
        raise InvalidArgumentError(f"base_url is an http(s) origin, not {base_url[:200]!r}")
    if "@" in parts.netloc:
        raise InvalidArgumentError("base_url carries no user name; pass the key as `key`")
    if parts.path.rstrip("/") or parts.query or parts.fragment:
        raise InvalidArgumentError(
            f"base_url is an origin such as http://127.0.0.1:8420, without {parts.path!r}"
        )
    return f"{parts.scheme}://{parts.netloc}"
