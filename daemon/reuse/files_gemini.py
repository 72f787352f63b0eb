"""Gemini's Files API: uploads by Google's resumable protocol, here in one request after its start.

A file is there for 48 hours, whatever is asked for, and may be named once it is active.
Source: the `google-genai` package, version 3: files.py, _api_client.py, types.File.
"""

import re
from collections.abc import Awaitable, Callable

import pybase64

from coatcheck.protocol import JsonObject, encode_json

from .errors import FileError, FileRefusedError
from .files_api import ProviderFile, check_size, moment, object_of, text_of
from .line import FileBody, Line
from .mode import Headers
from .offer import Offer

_LASTING_SECONDS = 48 * 3600
_MAX_BYTES = 2 * 1024**3
_LOOK_SECONDS = 1.0
_MAX_LOOKS = 10  # pictures are active at once; films may take longer, and go inline meanwhile
_version = re.compile(r"/(v1|v1beta)/").match
_DEFAULT_VERSION = "v1beta"  # what every client of theirs has spoken


class GeminiFiles:
    """URIs stand in `fileUri`."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """`sleep` waits so many seconds."""
        self._sleep = sleep

    def takes(self, offer: Offer) -> bool:
        """Any file; see `FilesApi.takes`."""
        return offer.size <= _MAX_BYTES

    def use(self, offer: Offer) -> str:
        """Return the type; see `FilesApi.use`."""
        return offer.media_type

    def lasting(self, seconds: int) -> int:
        """Return two days, whatever is asked for; see `FilesApi.lasting`."""
        return _LASTING_SECONDS

    async def upload(self, line: Line, offer: Offer, seconds: int, boundary: str) -> ProviderFile:
        """Hand a file over; see `FilesApi.upload`."""
        started = await line.ask(
            "POST",
            f"/upload/{_version_of(line)}/files",
            [
                ("Content-Type", "application/json"),
                ("X-Goog-Upload-Protocol", "resumable"),
                ("X-Goog-Upload-Command", "start"),
                ("X-Goog-Upload-Header-Content-Length", str(offer.size)),
                ("X-Goog-Upload-Header-Content-Type", offer.media_type),
            ],
            encode_json({"file": {"mime_type": offer.media_type}}),
        )
        target = started.checked().headers.get("X-Goog-Upload-URL", "")
        if not target:
            raise FileError("the answer has no URL to upload to")
        ended = await line.ask(
            "POST",
            line.path_of(target),
            [("X-Goog-Upload-Command", "upload, finalize"), ("X-Goog-Upload-Offset", "0")],
            FileBody(offer),
        )
        if ended.checked().headers.get("X-Goog-Upload-Status", "final") != "final":
            raise FileError("the upload is not final")
        return await self._active(line, offer, object_of(ended.body, "file"))

    async def has(self, line: Line, name: str) -> bool:
        """Look for a file; see `FilesApi.has`. What is not there is 403 to whoever asks."""
        reply = await line.ask("GET", f"/{_version_of(line)}/{name}")
        if reply.status in (403, 404, 410):
            return False
        return reply.checked().body.get("state", "ACTIVE") == "ACTIVE"

    async def remove(self, line: Line, name: str) -> None:
        """Remove a file; see `FilesApi.remove`."""
        reply = await line.ask("DELETE", f"/{_version_of(line)}/{name}")
        if reply.status not in (403, 404, 410):
            reply.checked()

    def headers(self, headers: Headers) -> Headers:
        """Return them as they are; see `FilesApi.headers`."""
        return headers

    async def _active(self, line: Line, offer: Offer, file: JsonObject) -> ProviderFile:
        """Return a file once it may be named."""
        name = text_of(file, "name")
        check_size(file.get("sizeBytes"), offer)
        _check_hash(file, offer)
        for _ in range(_MAX_LOOKS):
            match file.get("state", "ACTIVE"):
                case "ACTIVE":
                    return ProviderFile(
                        text_of(file, "uri"), name, moment(file.get("expirationTime"))
                    )
                case "FAILED":
                    raise FileRefusedError("the file cannot be processed")
                case _:
                    await self._sleep(_LOOK_SECONDS)
                    asked = await line.ask("GET", f"/{_version_of(line)}/{name}")
                    file = asked.checked().body
        raise FileError("the file is not active yet")


def _version_of(line: Line) -> str:
    match = _version(line.turn_path)
    return match[1] if match else _DEFAULT_VERSION


def _check_hash(file: JsonObject, offer: Offer) -> None:
    """Compare the SHA-256 that the provider says: of 32 bytes, or of their hexadecimal digits.

    Raises:
        FileError: it is another.
    """
    said = file.get("sha256Hash")
    if not isinstance(said, str):
        return
    try:
        raw = pybase64.b64decode(said, validate=True)
    except ValueError:
        return
    found = raw.hex() if len(raw) == 32 else raw.decode("ascii", "replace").lower()
    if len(found) == 64 and found != offer.digest.hex:
        raise FileError("other bytes arrived")
