"""Images that went in larger than an upstream uses them, made once as large as it does."""

from .fitter import Fitted, Fitter, Wanted
from .maker import Maker
from .policy import ImageFormat, ImagePolicy
from .shelf import VariantShelf

__all__ = ["Fitted", "Fitter", "ImageFormat", "ImagePolicy", "Maker", "VariantShelf", "Wanted"]
