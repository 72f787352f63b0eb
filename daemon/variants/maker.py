"""Making one variant: the header says whether there is to be one, a worker process decodes.

Nothing is decoded here. Animations and what is no PNG, JPEG, GIF or WebP are left alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from coatcheck.protocol import Buffer, Digest, ImageInfo, ImageParser
from coatcheck.store import ImageWorkerConfig, ImageWorkers, VariantSpec

from .policy import MIN_SIDE, Recipe

Read = Callable[[], AsyncGenerator[Buffer]]
"""Yields an original's bytes from the first to the last; may be called again."""

_SMALLER = 0.8  # of a side: about two thirds of the bytes


@dataclass(frozen=True, slots=True)
class Made:
    """A variant. `scale` is its longer side by the original's."""

    digest: Digest
    data: bytes
    media_type: str
    scale: float


class Maker:
    """Makes variants with workers that somebody else owns and closes."""

    def __init__(self, workers: ImageWorkers, config: ImageWorkerConfig) -> None:
        """`config` is that of the workers."""
        self._workers = workers
        self._config = config
        self.encoder = f"pillow-{version('pillow')}"
        """What writes the variants: another one writes other bytes."""

    async def make(self, read: Read, size: int, recipe: Recipe) -> Made | None:
        """Make what a recipe says of an image of `size` bytes; None: it goes as it is.

        Raises:
            ImageRefusedError, ImageWorkerCrashedError: it does not decode.
            ImageWorkerLostError, ImageWorkersBusyError, StoreClosedError: not now.
            DaemonError: the original cannot be read.
        """
        if size > self._config.max_source_bytes:
            return None
        info = await self._header(read)
        if info is None or info.fault or info.frames != 1 or not (info.width and info.height):
            return None
        if recipe.is_met_by(info.width, info.height, size):
            return None
        longest = max(info.width, info.height)
        side = recipe.rule.long_side(info.width, info.height)
        while True:
            made = await self._scaled(read, size, recipe, info.media_type, side, longest)
            if recipe.max_bytes is None or len(made.data) <= recipe.max_bytes:
                break
            if side <= MIN_SIDE:
                return None
            side = max(MIN_SIDE, int(side * _SMALLER))
        return made if len(made.data) < size else None

    async def _scaled(
        self, read: Read, size: int, recipe: Recipe, media_type: str, side: int, longest: int
    ) -> Made:
        spec = VariantSpec(
            max_width=side,
            max_height=side,
            media_type=recipe.media_type(media_type),
            quality=recipe.quality,
        )
        async with aclosing(read()) as pieces:
            variant = await self._workers.variant(pieces, size, spec)
        digest = await asyncio.to_thread(Digest.of, variant.data)
        return Made(
            digest, variant.data, variant.media_type, max(variant.width, variant.height) / longest
        )

    async def _header(self, read: Read) -> ImageInfo | None:
        parser = ImageParser()
        async with aclosing(read()) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(partial(parser.feed, piece))
        return parser.info(self._config.budgets)
