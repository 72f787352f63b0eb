"""What a client wants beside its answer, and the headers that tell it what came of that.

Keeping runs beside the forward; its headers are awaited before the answer's go out.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aiohttp import web

from coatcheck.protocol import (
    ANSWER_REFS_HEADER,
    KEEP,
    PREFIX_HEADER,
    PROMPT_HEADER,
    REFS_HEADER,
    refs_headers,
)

from .keeper import Kept
from .parsed_request import ParsedRequest

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Wish:
    """Its messages kept, its attachments named, its prefix compared with what was sent before, refs in its answer."""

    is_kept: bool
    is_named: bool
    is_guarded: bool = False
    wants_refs: bool = False


def wish_of(parsed: ParsedRequest, request: web.Request) -> Wish:
    """Return what a request asks for; an envelope is kept without being asked for."""
    asked = request.headers.get(PROMPT_HEADER, "").strip().lower()
    return Wish(
        is_kept=parsed.envelope is not None or asked == KEEP,
        is_named=_is_set(request, REFS_HEADER),
        is_guarded=_is_set(request, PREFIX_HEADER),
        wants_refs=_is_set(request, ANSWER_REFS_HEADER),
    )


async def kept_headers(keeping: Awaitable[Kept], wish: Wish, start: int) -> Mapping[str, str]:
    """Return the headers for what is being kept of messages before which `start` others stand."""
    kept = await keeping
    headers = refs_headers(kept.places, start) if wish.is_named else {}
    return headers | ({PROMPT_HEADER: kept.prompt} if kept.prompt else {})


async def awaited(keeping: "asyncio.Task[Mapping[str, str]] | None") -> Mapping[str, str]:
    """Return the headers of what is being kept; none where nothing is."""
    return await keeping if keeping else _NO_HEADERS


def _is_set(request: web.Request, header: str) -> bool:
    return request.headers.get(header, "").strip() == "1"
