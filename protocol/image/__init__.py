"""What an image's header says of it, read while its bytes stream past; nothing is decoded."""

from .info import ImageBudgets, ImageFault, ImageInfo
from .parser import IMAGE_TYPES, ImageParser, parse_image

__all__ = [
    "IMAGE_TYPES",
    "ImageBudgets",
    "ImageFault",
    "ImageInfo",
    "ImageParser",
    "parse_image",
]
