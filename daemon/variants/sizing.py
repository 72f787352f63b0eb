"""How large an image a provider uses: rules as values, and the largest size that one allows.

Providers scale down what is larger, so that pixels beyond are sent for nothing. A rule here never
allows less than its source says; a model that is not known gets the most that its provider's take.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class SizeRule:
    """Bounds of an image, in pixels; None: there is none.

    `max_patches` bounds the squares of `patch` pixels a side that cover it, cut ones included.
    """

    max_side: int | None = None
    max_short_side: int | None = None
    max_pixels: int | None = None
    patch: int = 1
    max_patches: int | None = None

    def long_side(self, width: int, height: int) -> int:
        """Return the longer side of the largest size of this shape that fits, at most its own.

        The shorter one follows from it; turning the image changes nothing.
        """
        longest, shortest = max(width, height), min(width, height)
        low, high = 1, longest
        while low < high:  # the largest that fits, since a smaller one fits where a larger does
            middle = (low + high + 1) // 2
            if self._fits(middle, scaled(shortest, middle, longest)):
                low = middle
            else:
                high = middle - 1
        return low

    def _fits(self, longer: int, shorter: int) -> bool:
        patches = ceil(longer / self.patch) * ceil(shorter / self.patch)
        return (
            (self.max_side is None or longer <= self.max_side)
            and (self.max_short_side is None or shorter <= self.max_short_side)
            and (self.max_pixels is None or longer * shorter <= self.max_pixels)
            and (self.max_patches is None or patches <= self.max_patches)
        )


def scaled(shortest: int, longer: int, longest: int) -> int:
    """Return the shorter side of an image whose longer one becomes `longer`."""
    return max(1, round(shortest * (longer / longest)))


@dataclass(frozen=True, slots=True)
class Seen:
    """An image as one request has it: its model, its `detail`, and how many images stand there."""

    model: str
    detail: str | None
    images: int


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What one provider uses of an image; `max_bytes` is the most that it takes, of one."""

    rule: SizeRule
    max_bytes: int | None = None


_Rules: TypeAlias = Callable[[Seen], ProviderLimits]

# OpenAI: the rules as LiteLLM 1.109 counts tokens by them (token_counter.py).
_TILES = SizeRule(max_side=2048, max_short_side=768)
_LOW = SizeRule(max_side=512)
_HIGH = SizeRule(max_side=2048, patch=32, max_patches=2500)
_HIGH_ASTRA = SizeRule(patch=32, max_patches=2500)
_WIDE = SizeRule(max_side=2048, patch=32, max_patches=6144)
_ORIGINAL = SizeRule(max_side=6000, patch=32, max_patches=10_000)
_ORIGINAL_6 = SizeRule(max_side=6000)


@dataclass(frozen=True, slots=True)
class _Family:
    """Models, and their rule for each `detail`; without one it is `auto`."""

    models: Sequence[str]
    auto: SizeRule
    high: SizeRule
    original: SizeRule
    low: SizeRule = _LOW

    def rule(self, detail: str | None) -> SizeRule:
        match detail:
            case "low":
                return self.low
            case "high":
                return self.high
            case "original":
                return self.original
            case _:
                return self.auto


_FAMILIES = (
    _Family(
        (
            *("gpt-4o*", "gpt-4.1", "gpt-4.1-20*", "gpt-5", "gpt-5-20*", "gpt-5.1", "gpt-5.1-20*"),
            *("o1", "o1-20*", "o3", "o3-20*"),
        ),
        _TILES,
        _TILES,
        _TILES,
    ),
    _Family(("gpt-5.2*", "gpt-4.1-mini*"), _WIDE, _WIDE, _WIDE),
    _Family(("gpt-5.4*",), _HIGH, _HIGH, _ORIGINAL, low=_WIDE),
    _Family(("gpt-5.5*",), _ORIGINAL, _HIGH, _ORIGINAL),
    _Family(("gpt-6-astra*",), _ORIGINAL_6, _HIGH_ASTRA, _ORIGINAL_6),
    _Family(("gpt-5.6*", "gpt-6*"), _ORIGINAL_6, _HIGH, _ORIGINAL_6),
)

# Engines that serve Qwen-VL through OpenAI's API: `smart_resize` of transformers, by default.
_QWEN = SizeRule(max_pixels=28 * 28 * 1280)

# Anthropic, docs/build-with-claude/vision: tokens are patches of 28 pixels.
_CLAUDE = SizeRule(max_side=1568, patch=28, max_patches=1568)
_CLAUDE_4_7 = SizeRule(max_side=2576, patch=28, max_patches=4784)
_CLAUDE_MANY = SizeRule(max_side=2000, patch=28, max_patches=4784)
_MANY_IMAGES = 20  # beyond so many in one request, an image over 2000 pixels is refused
_CLAUDE_BYTES = 5 * 1024 * 1024 // 4 * 3  # 5 MiB of base64
_claude_version = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)").search

# Gemini, ai.google.dev/gemini-api/docs/image-understanding: larger images are scaled to this.
_GEMINI = SizeRule(max_side=3072)


def provider_limits(provider: str, seen: Seen) -> ProviderLimits:
    """Return what a provider uses of an image in a request."""
    return _BY_PROVIDER[provider](seen)


def _openai(seen: Seen) -> ProviderLimits:
    model = seen.model.lower()
    if fnmatchcase(model, "*qwen*vl*"):
        return ProviderLimits(_QWEN)
    name = model.rpartition("/")[2]  # routers write whose model it is before it
    fitting = (family for family in _FAMILIES if _is_one_of(name, family.models))
    family = next(fitting, None)
    return ProviderLimits(family.rule(seen.detail) if family else _ORIGINAL_6)


def _anthropic(seen: Seen) -> ProviderLimits:
    match = _claude_version(seen.model.lower())
    version = (int(match[1]), int(match[2] or 0)) if match else None
    if version is not None and version < (4, 7):
        return ProviderLimits(_CLAUDE, _CLAUDE_BYTES)
    rule = _CLAUDE_MANY if seen.images > _MANY_IMAGES else _CLAUDE_4_7
    return ProviderLimits(rule, _CLAUDE_BYTES)


def _gemini(seen: Seen) -> ProviderLimits:
    return ProviderLimits(_GEMINI)


def _dify(seen: Seen) -> ProviderLimits:
    """Whose model a plugin asks, its name tells."""
    model = seen.model.lower()
    if "claude" in model:
        return _anthropic(seen)
    return _gemini(seen) if "gemini" in model else _openai(seen)


_BY_PROVIDER: dict[str, _Rules] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "dify": _dify,
}


def _is_one_of(model: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in patterns)
