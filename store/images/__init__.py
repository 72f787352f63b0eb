"""Decodes images that strangers sent, in processes that may do nothing else."""

from .config import ImageWorkerConfig
from .wire import Glance, Variant, VariantSpec, VariantType
from .workers import ImageWorkers

__all__ = [
    "Glance",
    "ImageWorkerConfig",
    "ImageWorkers",
    "Variant",
    "VariantSpec",
    "VariantType",
]
