"""The daemon: its parts joined, and the face that a process serves.

It owns the upstreams' connections, the workers that decode, and the background work
of the keeper and of answers, and closes them; the sources belong to whoever made them.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from coatcheck.client import Familiar
from coatcheck.store import ImageWorkerConfig, ImageWorkers
from coatcheck.web import Face, Siblings

from .admin import cache_routes, cache_section
from .answers import Answers
from .echo import EchoUpstream
from .echo_voices import VOICES
from .edge import Edge
from .fields import Fields
from .forward import HttpUpstream
from .gateway import Gateway, GatewayConfig
from .guardian import Guardian
from .history import History, HistoryRoutes, ResponseSource
from .inventory import CacheView, Inventory
from .keeper import Keeper
from .links import BlobLinks
from .metered import MeteredBlobs, MeteredPrompts, MeteredUpstream
from .meters import Meters, NoMeters
from .models import Models
from .observation import NoObserver, Observer
from .observed_turn import ReadLimits
from .passage import Passage
from .prefix_guard import KEY_BYTES, PrefixGuard
from .provider_routes import model_routes, passing_routes, turn_routes
from .replicas import Replicas
from .resolver import Resolver
from .reuse import Ledger, Means, Modes, open_modes
from .shared_inventory import SharedInventory
from .source import BlobSource, PromptSource
from .upstream import ECHO, Upstream, UpstreamConfig, Upstreams
from .variants import Fitter, Maker, VariantShelf


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """What a daemon is told. Without upstreams every model is `echo`."""

    upstreams: Sequence[UpstreamConfig] = ()
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    images: ImageWorkerConfig = field(default_factory=ImageWorkerConfig)
    """Of the workers that decode, for `echo` and for image policies."""
    has_echo: bool = True
    """False for an edge: the model `echo` is its remote's."""


class Daemon:
    """A resolver and a gateway over given sources. Open it inside a running loop; close it."""

    def __init__(
        self,
        gateway: Gateway,
        passage: Passage,
        models: Models,
        uses: Inventory,
        inventory: CacheView | None,
        noted: SharedInventory,
        upstreams: Upstreams,
        keeper: Keeper,
        answers: Answers,
        images: ImageWorkers,
        fitter: Fitter | None,
        history: HistoryRoutes,
        modes: Modes,
    ) -> None:
        self._gateway = gateway
        self.passage = passage
        """What passes requests on to providers as they came."""
        self._models = models
        self.uses = uses
        """What this process resolved, where its source has no copies to count."""
        self._inventory: CacheView = inventory or noted
        self._noted = noted
        self._upstreams = upstreams
        self._keeper = keeper
        self._answers = answers
        self._images = images
        self._fitter = fitter
        self._history = history
        self._modes = modes

    @classmethod
    def open(
        cls,
        config: DaemonConfig,
        blobs: BlobSource,
        prompts: PromptSource,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = secrets.token_bytes,
        observer: Observer | None = None,
        meters: Meters | None = None,
        inventory: CacheView | None = None,
        siblings: Siblings | None = None,
        shelf: VariantShelf | None = None,
        ledger: Ledger | None = None,
        responses: ResponseSource | None = None,
        links: BlobLinks | None = None,
        files: Path | None = None,
    ) -> Self:
        """Join the parts. `clock` gives Unix seconds; `observer` belongs to whoever made it.

        `inventory` is what the source of the blobs knows of its copies; None where it has none:
        then this process notes what it resolved, and its `siblings` do. The `shelf` keeps smaller
        images, the `ledger` knows what providers keep; both belong to whoever opened them. `responses`
        are what responses are called, for upstreams that leave their history to us. `links` are for
        upstreams that fetch; `files` is the folder below which each blob is a plain file, for engines
        that read it.

        Raises:
            ValueError: an upstream has an image policy, and there is no shelf; or a reuse mode, and
                there is not what that takes; or it leaves its history to us, and there is nowhere to
                keep it.
        """
        _require(config, responses, shelf)
        uses = Inventory(blobs.name)
        noted = SharedInventory(uses, siblings or Siblings())
        meters = meters or NoMeters()
        blobs = MeteredBlobs(blobs, meters, time.monotonic)
        fields = Fields(prompts, meters, clock)
        prompts = MeteredPrompts(prompts, meters)
        images = ImageWorkers(config.images)
        upstreams = _upstreams(config, images, clock, meters)
        keeper = Keeper(blobs, prompts, fields, Familiar(int.from_bytes(random(8))))
        answers = Answers(keeper, config.gateway.answers, meters)
        passage = Passage(upstreams, observer or NoObserver(), clock, ReadLimits())
        resolver = Resolver(blobs, inventory or noted, clock)
        fitter = _fitter(config, shelf, images, resolver, blobs, meters) if shelf else None
        modes = open_modes(
            Means(ledger, links, files),
            upstreams=upstreams,
            blobs=blobs,
            meters=meters,
            clock=clock,
            random=random,
        )
        limits = config.gateway
        edge = Edge(passage, meters, random, limits.max_request_bytes, limits.public_origins)
        gateway = Gateway(
            limits,
            resolver=resolver,
            prompts=prompts,
            fields=fields,
            upstreams=upstreams,
            keeper=keeper,
            answers=answers,
            passage=passage,
            edge=edge,
            meters=meters,
            random=random,
            guardian=Guardian(PrefixGuard(random(KEY_BYTES)), meters),
            modes=modes,
            fitter=fitter,
            history=History(prompts, responses, meters),
        )
        history = HistoryRoutes(responses, upstreams, passage)
        models = Models(upstreams, passage)
        return cls(
            gateway,
            passage,
            models,
            uses,
            inventory,
            noted,
            upstreams,
            keeper,
            answers,
            images,
            fitter,
            history,
            modes,
        )

    def face(self) -> Face:
        """Return the routes and the section of the page."""
        return Face(
            routes=[
                *turn_routes(self._gateway),
                *model_routes(self._models),
                *self._history.routes(),
                *passing_routes(self.passage),
                *cache_routes(self._inventory),
            ],
            sections=[cache_section(self._inventory)],
            private=self._noted.private_routes(),
        )

    async def close(self) -> None:
        """End background work, then close connections and workers. May be called twice."""
        if self._fitter:
            await self._fitter.close()
        await self._modes.close()
        await self._answers.close()
        await self._keeper.close()
        await self._upstreams.close()
        await self._images.close()


def _require(
    config: DaemonConfig, responses: ResponseSource | None, shelf: VariantShelf | None
) -> None:
    if responses is None and any(each.history == "coatcheck" for each in config.upstreams):
        raise ValueError("history needs a place where ids of responses are kept")
    if shelf is None and any(each.images for each in config.upstreams):
        raise ValueError("an image policy needs a shelf for variants")


def _fitter(
    config: DaemonConfig,
    shelf: VariantShelf,
    images: ImageWorkers,
    resolver: Resolver,
    blobs: BlobSource,
    meters: Meters,
) -> Fitter:
    maker = Maker(images, config.images)
    return Fitter(shelf, maker, resolver, blobs, meters, at_once=config.images.workers)


def _upstreams(
    config: DaemonConfig, images: ImageWorkers, clock: Callable[[], float], meters: Meters
) -> Upstreams:
    """Make every upstream, metered."""
    made = _unmetered(config, images, clock, meters)
    return Upstreams([MeteredUpstream(each, meters, time.monotonic) for each in made])


def _unmetered(
    config: DaemonConfig, images: ImageWorkers, clock: Callable[[], float], meters: Meters
) -> list[Upstream]:
    """Make every upstream. `echo` serves every model when it is alone, else its own name first.

    It has one voice for each dialect; `images` decodes for all of them.
    """
    upstreams: list[Upstream] = [_addressed(each, meters) for each in config.upstreams]
    if not config.has_echo:
        return upstreams
    models = (ECHO,) if upstreams else ("*",)
    return [*(EchoUpstream(clock, images, voice, models) for voice in VOICES), *upstreams]


def _addressed(config: UpstreamConfig, meters: Meters) -> Upstream:
    if len(config.base_urls) < 2:
        return HttpUpstream.open(config)
    replicas = [HttpUpstream.open(replace(config, base_url=url)) for url in config.base_urls]
    return Replicas(config, replicas, meters, time.monotonic)
