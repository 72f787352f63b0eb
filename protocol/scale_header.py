"""The header that tells a client which of its images went upstream smaller than they are.

`Coatcheck-Image-Scale: messages.0.content.1.image_url;0.5, ..`: what a model says of places in the
image is to be divided by the number.
"""

from collections.abc import Sequence

from .attachment import Path, dotted
from .refs_header import MAX_REFS

SCALE_HEADER = "Coatcheck-Image-Scale"
SCALE_MORE_HEADER = "Coatcheck-Image-Scale-More"


def scale_headers(scales: Sequence[tuple[Path, float]]) -> dict[str, str]:
    """Return the headers for images in the order of the text; the paths index the whole list.

    Of more than `MAX_REFS` the last are named, which the newest messages have; the second header
    counts those before them. Without images there are none.
    """
    if not scales:
        return {}
    named = ", ".join(f"{dotted(path)};{scale:.6g}" for path, scale in scales[-MAX_REFS:])
    more = len(scales) - MAX_REFS
    return {SCALE_HEADER: named} | ({SCALE_MORE_HEADER: str(more)} if more > 0 else {})
