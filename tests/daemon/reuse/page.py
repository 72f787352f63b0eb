"""The table of `docs/reuse.md`, rendered from what crossed."""

import asyncio
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .crossing import IMAGE_BYTES, IMAGES, TURNS, WAYS, Crossed, Way, cross

PAGE = Path(__file__).resolve().parents[3] / "docs/reuse.md"
_TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)
_BESIDE = {
    "inline": "",
    "coatcheck": "uploaded",
    "file-id": "uploaded",
    "uuid": "",
    "url": "fetched, in every turn",
    "file": "opened on this host",
    "ref": "resolved on the plugins' host",
}


async def cross_all() -> Mapping[Way, Crossed]:
    """Take the conversation by every way."""
    seen: dict[Way, Crossed] = {}
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            seen[way] = await cross(way, Path(folder))
    return seen


def measure() -> Mapping[Way, Crossed]:
    """Take the conversation by every way; see `cross_all`."""
    return asyncio.run(cross_all())


def render(seen: Mapping[Way, Crossed]) -> str:
    """Return the page with this table."""
    rows = [
        "| dialect | `reuse` | upstream | bodies of turns | beside them |",
        "|---|---|---|---|---|",
        *(_row(way, crossed) for way, crossed in seen.items()),
    ]
    text = PAGE.read_text("utf-8")
    whole = IMAGES * IMAGE_BYTES // 1000
    note = f"{TURNS} turns, {IMAGES} images, {whole} kB of them; in kB of 1000 bytes:\n\n"
    return _TABLE.sub(lambda _: note + "\n".join(rows) + "\n", text)


def _row(way: Way, crossed: Crossed) -> str:
    beside = f"{crossed.beside / 1000:.0f}, {_BESIDE[way.reuse]}" if crossed.beside else "0"
    if way.reuse in ("file", "ref"):
        beside = f"0: {_BESIDE[way.reuse]}"
    bodies = f"{crossed.turns / 1000:.1f}"
    return f"| `{way.spoken.dialect}` | `{way.reuse}` | {way.upstream} | {bodies} | {beside} |"
