"""The limits of the store's routes: each with its unit, its default and its reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Bounds of single requests."""

    public_origin: str | None = None
    """Where signed URLs lead, `http(s)://host[:port]`; None: to where they were asked for."""

    page_blobs: int = 100
    """Blobs in one page of a list, where the client does not say."""

    max_page_blobs: int = 1000
    """Blobs in one page at most: about 400 kB of JSON."""

    max_json_bytes: int = 256 * 1024
    """A JSON request body: 1000 digests with their punctuation are 76 kB."""

    admin_blobs: int = 50
    """Blobs on the admin page, each with its picture."""

    max_resolve_bytes: int = 512 * 1024
    """A question of daemons: 1000 digests and as many file ids, each with its punctuation."""

    max_prompt_json_bytes: int = 144 * 1024 * 1024
    """Messages to keep: twice what a prompt may have, since JSON text inside JSON has its quotes
    and backslashes escaped."""
