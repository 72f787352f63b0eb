"""What is known of an image before it is decoded, and what keeps it from being decoded."""

from dataclasses import dataclass
from enum import StrEnum

_MIB = 1024 * 1024


class ImageFault(StrEnum):
    """Why an image is not decoded. Its bytes are kept all the same."""

    NO_PIXELS = "no_pixels"
    SIDE_TOO_LONG = "side_too_long"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    ANIMATION_TOO_LARGE = "animation_too_large"
    TOO_MUCH_METADATA = "too_much_metadata"
    TOO_FRAGMENTED = "too_fragmented"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class ImageBudgets:
    """What an image may claim and still be decoded.

    Raises:
        ValueError: a budget is not positive.
    """

    max_side_pixels: int = 32_767
    """Of width and height: the longest side that browsers draw (a canvas in Chrome and Firefox)."""

    max_pixels: int = 40_000_000
    """Of one frame: 160 MB once decoded; most phones' pictures have 12 or 24 million."""

    max_frames: int = 1_000
    """Of an animation: a minute and a half at eleven a second, about twice what chats send."""

    max_animation_pixels: int = 400_000_000
    """Of all frames together: ten of the largest pictures, or 400 frames of a film in 720p."""

    max_metadata_bytes: int = 2 * _MIB
    """Of text, colour profile, EXIF, XMP and the like: a printing press's profile has 0.6 MB."""

    def __post_init__(self) -> None:
        limits = {
            "max_side_pixels": self.max_side_pixels,
            "max_pixels": self.max_pixels,
            "max_frames": self.max_frames,
            "max_animation_pixels": self.max_animation_pixels,
            "max_metadata_bytes": self.max_metadata_bytes,
        }
        for name, value in limits.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")

    def explain(self, fault: ImageFault) -> str:
        """Say in a sentence, without its first capital, what an image is refused for."""
        return {
            ImageFault.NO_PIXELS: "the image claims no pixels",
            ImageFault.SIDE_TOO_LONG: f"the image has a side over {self.max_side_pixels} pixels",
            ImageFault.TOO_MANY_PIXELS: f"the image has over {self.max_pixels} pixels",
            ImageFault.TOO_MANY_FRAMES: f"the image has over {self.max_frames} frames",
            ImageFault.ANIMATION_TOO_LARGE: (
                f"the image's frames have over {self.max_animation_pixels} pixels"
            ),
            ImageFault.TOO_MUCH_METADATA: (
                f"the image has over {self.max_metadata_bytes} bytes of metadata"
            ),
            ImageFault.TOO_FRAGMENTED: "the image is cut into too many blocks",
            ImageFault.MALFORMED: "the image's header is malformed",
            ImageFault.TRUNCATED: "the image has no end",
        }[fault]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image as its header claims it."""

    media_type: str
    """One of `IMAGE_TYPES`."""
    width: int | None
    """Pixels, before EXIF orientation; None where the header says none, or no pixels at all."""
    height: int | None
    frames: int | None
    """1 for a still; of an animation as many as it claims (PNG) or shows (GIF, WebP). None where
    the header is not there, or the walk was given up before the image's end."""
    metadata_bytes: int
    fault: ImageFault | None
    """The first reason not to decode it, in the order of `ImageFault`; None when there is none."""
