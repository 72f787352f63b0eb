"""How large each provider uses an image: rules with their tables, and what holds of all rules."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.daemon.variants.sizing import Seen, SizeRule, provider_limits, scaled
from coatcheck.protocol import DIALECTS

SIDES = st.integers(1, 32_767)


def fitted(
    provider: str, model: str, size: tuple[int, int], detail: str | None = None, images: int = 1
) -> tuple[int, int]:
    """Return the size that an image gets."""
    rule = provider_limits(provider, Seen(model, detail, images)).rule
    longest, shortest = max(size), min(size)
    side = rule.long_side(*size)
    short = scaled(shortest, side, longest)
    return (side, short) if size[0] >= size[1] else (short, side)


@pytest.mark.parametrize(
    ("model", "detail", "size", "expected"),
    [
        # Tiles: into 2048 x 2048, then the short side to 768.
        ("gpt-4o", None, (4000, 3000), (1024, 768)),
        ("gpt-4o-mini", "high", (3000, 4000), (768, 1024)),
        ("openai/GPT-4o", None, (4000, 3000), (1024, 768)),
        ("gpt-4.1", "auto", (4096, 1024), (2048, 512)),
        ("gpt-4.1-2025-04-14", None, (2000, 2000), (768, 768)),
        ("gpt-5", None, (1024, 768), (1024, 768)),
        ("gpt-5.1", None, (10, 20_000), (1, 2048)),
        ("o3", "low", (4000, 3000), (512, 384)),
        # Patches of 32 pixels.
        ("gpt-4.1-mini", None, (4000, 3000), (2048, 1536)),
        ("gpt-5.2", "low", (4000, 3000), (512, 384)),
        ("gpt-5.4", None, (4000, 3000), (1835, 1376)),  # 58 x 43 = 2494 patches
        ("gpt-5.4", "original", (8000, 500), (6000, 375)),
        ("gpt-5.4", "original", (8000, 6000), (3670, 2752)),  # 115 x 86 = 9890
        ("gpt-5.4", "low", (4000, 3000), (2048, 1536)),
        ("gpt-5.5", None, (4000, 1000), (4000, 1000)),
        ("gpt-5.5", "high", (4000, 1000), (2048, 512)),
        ("gpt-5.6-pro", None, (8000, 6000), (6000, 4500)),
        ("gpt-6", "high", (2000, 2000), (1600, 1600)),
        ("gpt-6-astra", "high", (8000, 500), (6152, 384)),
        # One that is not known gets the most, whatever it is asked for.
        ("llava", "low", (8000, 6000), (6000, 4500)),
        ("gpt-5-mini", None, (4000, 3000), (4000, 3000)),
        ("Qwen/Qwen2.5-VL-7B-Instruct", None, (4000, 3000), (1156, 867)),
    ],
)
def test_openai(
    model: str, detail: str | None, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitted("openai", model, size, detail) == expected


@pytest.mark.parametrize(
    ("model", "images", "size", "expected"),
    [
        ("claude-3-5-sonnet-20241022", 1, (4000, 3000), (1270, 952)),  # 46 x 34 = 1564 patches
        ("claude-sonnet-4-20250514", 1, (4000, 1000), (1568, 392)),
        ("claude-opus-4-6", 1, (1372, 875), (1372, 875)),
        ("claude-opus-4-7", 1, (4000, 1000), (2576, 644)),
        ("claude-sonnet-5", 1, (4000, 1000), (2576, 644)),
        ("claude-sonnet-4-7@20260101", 20, (2576, 644), (2576, 644)),
        ("claude-sonnet-5", 21, (4000, 1000), (2000, 500)),
        ("claude-3-haiku-20240307", 21, (4000, 1000), (1568, 392)),
        ("something", 1, (4000, 1000), (2576, 644)),
    ],
)
def test_anthropic(
    model: str, images: int, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitted("anthropic", model, size, images=images) == expected
    limits = provider_limits("anthropic", Seen(model, None, images))
    assert limits.max_bytes == 3_932_160


def test_gemini() -> None:
    assert fitted("gemini", "gemini-3-pro", (4000, 3000)) == (3072, 2304)
    assert fitted("gemini", "gemini-3-pro", (3072, 3072)) == (3072, 3072)


def test_every_provider_has_rules_for_any_model() -> None:
    for spoken in DIALECTS.values():
        rule = provider_limits(spoken.provider.name, Seen("", None, 0)).rule
        assert rule.long_side(100_000, 1000) < 100_000


RULES = [
    SizeRule(max_side=512),
    SizeRule(max_side=2048, max_short_side=768),
    SizeRule(max_pixels=1_003_520),
    SizeRule(max_side=1568, patch=28, max_patches=1568),
    SizeRule(patch=32, max_patches=2500),
    SizeRule(),
]


@pytest.mark.parametrize("rule", RULES)
@given(width=SIDES, height=SIDES)
def test_the_size_fits_and_a_larger_one_would_not(rule: SizeRule, width: int, height: int) -> None:
    longest, shortest = max(width, height), min(width, height)
    side = rule.long_side(width, height)
    assert 1 <= side <= longest
    assert side == rule.long_side(height, width)
    assert rule.long_side(side, scaled(shortest, side, longest)) == side

    def fits(longer: int, shorter: int) -> bool:
        patches = ceil(longer / rule.patch) * ceil(shorter / rule.patch)
        return (
            longer <= (rule.max_side or longer)
            and shorter <= (rule.max_short_side or shorter)
            and longer * shorter <= (rule.max_pixels or longer * shorter)
            and patches <= (rule.max_patches or patches)
        )

    assert fits(side, scaled(shortest, side, longest))
    assert side == longest or not fits(side + 1, scaled(shortest, side + 1, longest))
