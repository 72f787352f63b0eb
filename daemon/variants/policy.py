"""An upstream's image policy, and what it makes of one image: a recipe.

The same bytes and the same recipe give the same variant, so a recipe names everything that the
variant depends on beside the original.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from coatcheck.store import VariantType

from .sizing import ProviderLimits, Seen, SizeRule, provider_limits

ImageFormat: TypeAlias = Literal["keep", "jpeg", "png", "webp"]
MIN_SIDE = 64
"""Pixels; an image is not made smaller for the sake of its bytes."""
_VERSION = 1  # of how variants are made here; another one makes others
_QUALITY = 90  # of JPEG and WebP: no difference to be seen in photographs, a sixth of a PNG's bytes


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """What becomes of images that are larger than an upstream uses.

    `fit` is how large they become: as the provider itself would make them, or so many pixels on
    their longer side. `format` is what they are written in; `keep`: their own, and PNG for a GIF.
    `max_bytes` bounds their files, the originals of sizes that fit included; None: as much as the
    provider takes where `fit` is `provider`, else any number.
    """

    fit: Literal["provider"] | int = "provider"
    format: ImageFormat = "keep"
    max_bytes: int | None = None

    def recipe(self, provider: str, seen: Seen) -> "Recipe":
        """Return what to do with an image of a request to a provider."""
        if self.fit == "provider":
            limits = provider_limits(provider, seen)
        else:
            limits = ProviderLimits(SizeRule(max_side=self.fit))
        max_bytes = limits.max_bytes if self.max_bytes is None else self.max_bytes
        return Recipe(limits.rule, self.format, max_bytes)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to make of an image: how large, in which format, of how many bytes."""

    rule: SizeRule
    format: ImageFormat
    max_bytes: int | None
    quality: int = _QUALITY

    def name(self, encoder: str) -> str:
        """Return its name; `encoder` says which program writes the variant."""
        rule = self.rule
        parts = {
            "side": rule.max_side,
            "short": rule.max_short_side,
            "pixels": rule.max_pixels,
            "patches": rule.max_patches and f"{rule.max_patches}x{rule.patch}",
            "format": self.format,
            "bytes": self.max_bytes,
            "quality": self.quality,
        }
        said = " ".join(f"{key}={value}" for key, value in parts.items() if value is not None)
        return f"{_VERSION} {encoder} {said}"

    def media_type(self, of: str) -> VariantType:
        """Return what the variant of an image of a type is written in."""
        match of if self.format == "keep" else f"image/{self.format}":
            case "image/jpeg":
                return "image/jpeg"
            case "image/webp":
                return "image/webp"
            case _:
                return "image/png"

    def is_met_by(self, width: int, height: int, size: int) -> bool:
        """Whether an image goes as it is."""
        fits = self.rule.long_side(width, height) == max(width, height)
        return fits and (self.max_bytes is None or size <= self.max_bytes)
