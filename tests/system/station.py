"""A command that serves, in this process: stopped and started again at one address, by one clock."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from coatcheck.cli.services import SERVICES
from coatcheck.cli.settings import Settings
from coatcheck.cli.surroundings import Surroundings
from coatcheck.web import Server, build_app, join_faces


@dataclass
class Clock:
    """Unix seconds that pass when a test says so."""

    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Station:
    """One of the commands, with its settings."""

    name: str
    clock: Clock
    settings: Mapping[str, object]
    port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def url(self) -> str:
        """Its origin; known from the first start on."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Open what it has on disk, and listen; after `stop`, at the same address."""
        self._stack = AsyncExitStack()
        settings = Settings.model_validate({"min_free_bytes": 0, **self.settings})
        assembly = await SERVICES[self.name].assemble(
            settings, Surroundings(self.environment, clock=self.clock), self._stack
        )
        routes = join_faces(assembly.faces, title="Coatcheck", version="1")
        server = Server(build_app(routes, keyring=assembly.keyring, gate=assembly.gate))
        self._stack.push_async_callback(server.stop, 0)
        self.port = (await server.start(port=self.port)).port

    async def stop(self) -> None:
        """Break what runs, and close everything. May be called twice."""
        await self._stack.aclose()
