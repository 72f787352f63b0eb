"""Commands and settings; the only folder that reads the environment."""

from .main import main

__all__ = ["main"]
