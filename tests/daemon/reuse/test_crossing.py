"""What crosses the last hop in each dialect and mode, and that `docs/reuse.md` says so."""

from collections.abc import Mapping

import pytest

from .crossing import IMAGE_BYTES, IMAGES, TURNS, WAYS, Crossed, Way
from .page import PAGE, measure, render

ENCODED = 4 * -(-IMAGE_BYTES // 3)
INLINE = sum(TURNS - turn for turn in range(IMAGES)) * ENCODED


@pytest.fixture(scope="module")
def seen() -> Mapping[Way, Crossed]:
    """Everything, measured once."""
    return measure()


def test_the_page_says_what_crosses(seen: Mapping[Way, Crossed]) -> None:
    assert render(seen) == PAGE.read_text("utf-8"), "python -m tests.daemon.reuse writes it"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.spoken.dialect}-{way.reuse}")
def test_bytes_cross_as_often_as_they_have_to(seen: Mapping[Way, Crossed], way: Way) -> None:
    crossed, images = seen[way], IMAGES * IMAGE_BYTES
    match way.reuse:
        case "inline":
            assert INLINE < crossed.turns < INLINE + 10_000
            assert crossed.beside == 0
        case "uuid":
            assert IMAGES * ENCODED < crossed.turns < IMAGES * ENCODED + 10_000
        case "url":
            assert crossed.turns < 15_000
            assert crossed.beside == images * 5  # 15 places in 6 turns, of 3 images
        case "file" | "ref":
            assert crossed.turns < 10_000
            assert crossed.beside == 0
        case _:
            assert crossed.turns < 10_000
            assert images <= crossed.beside < images + 5_000
