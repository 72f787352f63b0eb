"""Hydration in the `inline` mode: a parsed request becomes a body with blobs spliced in.

Each attachment is given a stand-in text, the request is written once as JSON, and the text is cut
at the stand-ins. A stand-in carries 128 random bits, so nothing a client sends can be one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coatcheck.protocol import DeclaringSlot, JsonObject, Slot, encode_json

from .body import Base64Of
from .source import Resolved


@dataclass(frozen=True, slots=True)
class Filling:
    """What goes into a slot: a blob, and the media type to present it as.

    A variant's type stands in place of one that was declared for the original.
    """

    slot: Slot
    blob: Resolved
    media_type: str
    is_variant: bool = False


def splice(body: JsonObject, fillings: Sequence[Filling], nonce: bytes) -> list[bytes | Base64Of]:
    """Put every filling into its slot, which changes `body`; return the text in segments.

    `nonce` is 16 random bytes. Without fillings there is one segment.
    """
    mark = f"@{nonce.hex()}:"
    alphabets = [filling.slot.is_url_safe for filling in fillings]
    for index, filling in enumerate(fillings):
        if filling.is_variant and isinstance(filling.slot, DeclaringSlot):
            filling.slot.declare(filling.media_type)
        filling.slot.put_inline(filling.media_type, f"{mark}{index}@")
    head, *tails = encode_json(body).split(mark.encode())
    segments: list[bytes | Base64Of] = [head]
    for tail in tails:
        number, _, text = tail.partition(b"@")
        index = int(number)
        blob = fillings[index].blob
        segments += [Base64Of(blob.digest, blob.size, alphabets[index]), text]
    return segments
