"""What an address may stand for in a turn: blobs that the store has, those that came inline included.

An inline image is handed to the store before its address is named, for the end user whose turn it is. That
makes its first turn wait for the store; what the store does not take goes as the client wrote it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from coatcheck.protocol import Digest, FoundInline, LinkSlot, piece_count

from ..errors import DaemonError
from ..source import BlobSource, Resolved
from ..splice import Filling
from .mode import Hop
from .offer import Offer, offers

_AT_ONCE = 8  # most of an upload is waiting for the disk


async def at_hand(hop: Hop, blobs: BlobSource) -> Sequence[Filling]:
    """Return what fills the slots that take an address, where the store has it; but no variants.

    To be asked before anything is put into the slots.
    """
    found = [offer async for offer in offers(hop, LinkSlot) if not offer.filling.is_variant]
    inline = [offer for offer in found if _came_inline(offer)]
    held = await _held(hop, blobs, inline) if inline else {}
    filled: list[Filling] = []
    for offer in found:
        blob = held.get(offer.digest) if _came_inline(offer) else offer.filling.blob
        if blob is not None:
            filled.append(replace(offer.filling, blob=blob))
    return filled


async def _held(hop: Hop, blobs: BlobSource, inline: Sequence[Offer]) -> Mapping[Digest, Resolved]:
    """Return inline blobs as the store has them, those that it lacked included; {} while it is away."""
    offered = {offer.digest: offer for offer in inline}
    try:
        if hop.end_user is None:
            held = set(await blobs.resolve(hop.tenant, offered))
        else:
            held = set(await blobs.claim(hop.tenant, list(offered), hop.end_user))
        places = asyncio.Semaphore(_AT_ONCE)
        lacking = [offer for digest, offer in offered.items() if digest not in held]
        await asyncio.gather(*(_absorb(hop, blobs, offer, places) for offer in lacking))
        return await blobs.resolve(hop.tenant, offered)
    except DaemonError:
        return {}


async def _absorb(hop: Hop, blobs: BlobSource, offer: Offer, places: asyncio.Semaphore) -> None:
    async with places:
        reader = await offer.open()
        try:
            pieces = [
                bytes(await reader.read_piece(index)) for index in range(piece_count(reader.size))
            ]
        finally:
            await reader.close()
        try:
            await blobs.absorb(
                hop.tenant, b"".join(pieces), offer.media_type, end_user=hop.end_user
            )
        except DaemonError:
            return  # it is not held then


def _came_inline(offer: Offer) -> bool:
    return isinstance(offer.filling.slot.found, FoundInline)
