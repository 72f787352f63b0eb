"""One upstream at several addresses: replicas, which serve the same models.

Who takes a request is decided in `affinity.py`. A request goes to another replica only when the first
one took no connection: then nothing can have reached a model. Whatever happens later is the
client's to see, as with a single address.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from .affinity import Affinity, Chosen
from .errors import DaemonError, UpstreamConnectTimeoutError, UpstreamUnreachableError
from .meters import Meters
from .upstream import Answer, Outgoing, Upstream, UpstreamConfig


class Replicas:
    """An `Upstream` of several; owns and closes them."""

    def __init__(
        self,
        config: UpstreamConfig,
        replicas: Sequence[Upstream],
        meters: Meters,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives seconds and never goes back."""
        self._config = config
        self._replicas = replicas
        self._meters = meters
        self._clock = clock
        self.affinity = Affinity(config.base_urls, config.spill_requests)
        """Who is busy, and who is left out."""

    @property
    def config(self) -> UpstreamConfig:
        """Its settings."""
        return self._config

    @asynccontextmanager
    async def send(self, outgoing: Outgoing) -> AsyncGenerator[Answer]:
        """Send a request to the replica that takes it; see `Upstream.send`."""
        async with AsyncExitStack() as stack:
            yield await self._connect(outgoing, stack)

    async def close(self) -> None:
        """Close every replica. May be called twice."""
        for replica in self._replicas:
            await replica.close()

    async def _connect(self, outgoing: Outgoing, stack: AsyncExitStack) -> Answer:
        """Return an answer, which the stack closes."""
        tried: frozenset[int] = frozenset()
        while True:
            chosen = self._choose(outgoing, tried)
            tried |= {chosen.index}
            try:
                return await self._send(outgoing, chosen, stack)
            except (UpstreamUnreachableError, UpstreamConnectTimeoutError):
                self.affinity.refused(chosen.index, self._clock())
                self._meters.replica(self._config.name, chosen.index, "unconnected")
                if len(tried) == len(self._replicas):
                    raise

    def _choose(self, outgoing: Outgoing, tried: frozenset[int]) -> Chosen:
        now = self._clock()
        if outgoing.is_turn:
            return self.affinity.choose(outgoing.root, tried, now)
        return self.affinity.first(tried, now)

    async def _send(self, outgoing: Outgoing, chosen: Chosen, stack: AsyncExitStack) -> Answer:
        index = chosen.index
        async with AsyncExitStack() as attempt:
            self.affinity.begin(index, self._clock())
            attempt.callback(self.affinity.end, index)
            try:
                answer = await attempt.enter_async_context(self._replicas[index].send(outgoing))
            except (UpstreamUnreachableError, UpstreamConnectTimeoutError):
                raise
            except DaemonError:
                self._note(chosen)
                raise
            self._note(chosen)
            stack.push_async_exit(attempt.pop_all())
            return answer

    def _note(self, chosen: Chosen) -> None:
        """A replica took the request, whatever became of it."""
        self.affinity.reached(chosen.index)
        self._meters.replica(self._config.name, chosen.index, chosen.choice)
