"""OpenAI's Files API, and that of those who speak it.

Source: the `openai` package, version 3: resources/files.py, types/file_create_params.py.
"""

from urllib.parse import quote

from .files_api import ProviderFile, check_size, clamped, moment, text_of
from .line import Line, form
from .mode import Headers
from .offer import Offer

_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_MAX_BYTES = 512 * 1024 * 1024
_LEAST_SECONDS, _MOST_SECONDS = 3600, 2_592_000


class OpenAIFiles:
    """Ids stand in `file_id`."""

    def takes(self, offer: Offer) -> bool:
        """Any file, but images only of the types that models see; see `FilesApi.takes`."""
        is_image = offer.media_type.startswith("image/")
        return offer.size <= _MAX_BYTES and (not is_image or offer.media_type in _IMAGES)

    def use(self, offer: Offer) -> str:
        """Return the purpose, the type and the name; see `FilesApi.use`."""
        return f"{_purpose(offer)} {offer.media_type} {offer.filename}"

    def lasting(self, seconds: int) -> int:
        """Return it within an hour and thirty days; see `FilesApi.lasting`."""
        return clamped(seconds, _LEAST_SECONDS, _MOST_SECONDS)

    async def upload(self, line: Line, offer: Offer, seconds: int, boundary: str) -> ProviderFile:
        """Hand a file over; see `FilesApi.upload`."""
        fields = [
            ("purpose", _purpose(offer)),
            ("expires_after[anchor]", "created_at"),
            ("expires_after[seconds]", str(seconds)),
        ]
        headers, body = form(offer, fields, boundary)
        reply = (await line.ask("POST", "/files", headers, body)).checked()
        check_size(reply.body.get("bytes"), offer)
        file_id = text_of(reply.body, "id")
        return ProviderFile(file_id, file_id, moment(reply.body.get("expires_at")))

    async def has(self, line: Line, name: str) -> bool:
        """Look for a file; see `FilesApi.has`."""
        reply = await line.ask("GET", f"/files/{quote(name, safe='')}")
        return reply.status not in (404, 410) and reply.checked().is_good

    async def remove(self, line: Line, name: str) -> None:
        """Remove a file; see `FilesApi.remove`."""
        reply = await line.ask("DELETE", f"/files/{quote(name, safe='')}")
        if reply.status not in (404, 410):
            reply.checked()

    def headers(self, headers: Headers) -> Headers:
        """Return them as they are; see `FilesApi.headers`."""
        return headers


def _purpose(offer: Offer) -> str:
    return "vision" if offer.media_type.startswith("image/") else "user_data"
