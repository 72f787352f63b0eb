"""What a daemon without a store passes to its remote beside turns: blobs, resumable uploads, and readiness."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

from coatcheck.protocol import Digest
from coatcheck.web import Face, ReadinessCheck

from ..availability import Availability
from ..errors import DaemonError
from ..forward import HttpUpstream
from ..metered import MeteredUpstream
from ..meters import Meters
from ..store_passage import StorePassage
from ..upstream import Outgoing, Upstream, UpstreamConfig

_ANSWERS_SECONDS = 0.5  # less than a prober waits


class RemoteFace:
    """Routes to one remote. Open it inside a running loop; close it."""

    def __init__(self, remote: Upstream, config: UpstreamConfig) -> None:
        """Called by `open`."""
        self._remote = remote
        self._config = config

    @classmethod
    def open(cls, upstreams: Sequence[UpstreamConfig], meters: Meters) -> Self:
        """Make it for the first of some upstreams that is another daemon."""
        config = next(each for each in upstreams if each.is_coatcheck)
        base = config.base_url.rstrip("/").removesuffix(config.provider.base_path)
        opened = HttpUpstream.open(replace(config, base_url=base))
        return cls(MeteredUpstream(opened, meters, time.monotonic, hop="store"), config)

    def face(self) -> Face:
        """Return the routes, and the check: without its remote an edge has nothing, but may wait for it."""
        passage = StorePassage(
            self._remote,
            None,
            Availability(self._config.base_url, time.monotonic),
            _forget_nothing,
            self._config.own_key,
        )
        return Face(
            routes=passage.routes(),
            checks=[ReadinessCheck("remote", self._check, is_vital=False)],
        )

    async def close(self) -> None:
        """Close its connections. May be called twice."""
        await self._remote.close()

    async def _check(self) -> str | None:
        try:
            async with asyncio.timeout(_ANSWERS_SECONDS), AsyncExitStack() as stack:
                asking = self._remote.send(Outgoing("GET", "/healthz", (), None))
                answer = await stack.enter_async_context(asking)
                if answer.status != 200:
                    return f"the remote answered {answer.status}"
        except TimeoutError:
            return f"the remote did not answer within {_ANSWERS_SECONDS:g} s"
        except DaemonError as error:
            return str(error)
        return None


async def _forget_nothing(tenant: str, digest: Digest) -> None:
    """What is known at an edge is a guess that may turn out wrong."""
