"""Anthropic's Files API.

Source: the `anthropic` package, version 2: resources/files.py; before the API's version of 2026-10-21
it was a beta, which both the file's requests and those that name a file have to ask for.
"""

from urllib.parse import quote

from .files_api import ProviderFile, check_size, clamped, moment, text_of
from .line import Line, form
from .mode import Headers
from .offer import Offer

_TYPES = frozenset(
    {"image/png", "image/jpeg", "image/webp", "image/gif", "application/pdf", "text/plain"}
)
_MAX_BYTES = 500 * 1024 * 1024
_LEAST_SECONDS, _MOST_SECONDS = 3600, 7_776_000
_VERSION, _BETA = "anthropic-version", "anthropic-beta"
_FIRST_VERSION, _WITHOUT_BETA = "2023-06-01", "2026-10-21"
_FILES_BETA = "files-api-2025-04-14"


class AnthropicFiles:
    """Ids stand in a `source` of type `file`."""

    def takes(self, offer: Offer) -> bool:
        """What a block may have; see `FilesApi.takes`."""
        return offer.size <= _MAX_BYTES and offer.media_type in _TYPES

    def use(self, offer: Offer) -> str:
        """Return the type and the name; see `FilesApi.use`."""
        return f"{offer.media_type} {offer.filename}"

    def lasting(self, seconds: int) -> int:
        """Return it within an hour and ninety days; see `FilesApi.lasting`."""
        return clamped(seconds, _LEAST_SECONDS, _MOST_SECONDS)

    async def upload(self, line: Line, offer: Offer, seconds: int, boundary: str) -> ProviderFile:
        """Hand a file over; see `FilesApi.upload`."""
        headers, body = form(offer, [("expires_in_seconds", str(seconds))], boundary)
        asked = [*_own(line), *headers]
        reply = (await line.ask("POST", "/v1/files", asked, body)).checked()
        check_size(reply.body.get("size_bytes"), offer)
        file_id = text_of(reply.body, "id")
        return ProviderFile(file_id, file_id, moment(reply.body.get("expires_at")))

    async def has(self, line: Line, name: str) -> bool:
        """Look for a file; see `FilesApi.has`."""
        reply = await line.ask("GET", f"/v1/files/{quote(name, safe='')}", _own(line))
        return reply.status not in (404, 410) and reply.checked().is_good

    async def remove(self, line: Line, name: str) -> None:
        """Remove a file; see `FilesApi.remove`."""
        reply = await line.ask("DELETE", f"/v1/files/{quote(name, safe='')}", _own(line))
        if reply.status not in (404, 410):
            reply.checked()

    def headers(self, headers: Headers) -> Headers:
        """Ask for the beta where the version that is spoken needs it; see `FilesApi.headers`."""
        asked = ",".join(value for name, value in headers if name.lower() == _BETA)
        if not _is_beta(headers) or _FILES_BETA in (part.strip() for part in asked.split(",")):
            return headers
        kept = [(name, value) for name, value in headers if name.lower() != _BETA]
        return [*kept, (_BETA, f"{asked},{_FILES_BETA}" if asked else _FILES_BETA)]


def _is_beta(headers: Headers) -> bool:
    versions = [value for name, value in headers if name.lower() == _VERSION]
    return max(versions, default=_FIRST_VERSION) < _WITHOUT_BETA


def _own(line: Line) -> Headers:
    """Return what a request for a file has beside the owner's headers."""
    has_version = any(name.lower() == _VERSION for name, _ in line.headers)
    version = [] if has_version else [(_VERSION, _FIRST_VERSION)]
    return [*version, (_BETA, _FILES_BETA)] if _is_beta(line.headers) else version
