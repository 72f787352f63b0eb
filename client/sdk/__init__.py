"""For official SDKs: their clients wrapped, and transports for them. No SDK is needed, or imported, before."""

from .clients import async_http_client, http_client
from .library import Name
from .office import Fallback
from .wrap import wrap

__all__ = ["Fallback", "Name", "async_http_client", "http_client", "wrap"]
