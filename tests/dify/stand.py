"""Dify without Dify: its own packages at both ends, and these parts between them.

    graphon's SlimClient            (programs/graphon_client.py, in an environment of its own)
      -> slim executable            (slim.py, programs/slim.py: the client's half of Dify's slim binary)
    or Dify's API client, replayed  (api_client.py: httpx, frames, error types)
      -> [what is to be tested stands here, and forwards to `Stand.url`]
      -> the plugin daemon's face   (face.py over go_structs.py: records each request)
      -> a plugin in a process      (host.py: lines over stdio; installation.py: its own .venv)
         built on dify_plugin's OAICompatLargeLanguageModel (plugin/)
      -> a model on loopback        (model_server.py: hashes each image, streams, fails when told)

`Stand` is the lower half in one object; it starts nothing before the first call, and `standing` closes
it. Its servers run on a loop in a thread of their own, so a test may be synchronous or not. The fixture
`stands` gives one for each SDK, shared by a module's worker; `prompt.py` makes bodies and messages.
"""

from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..clients.environments import Environment
from .background import Background
from .face import MAX_EXECUTION_SECONDS, Face, Received, on_loopback
from .host import MAX_LINE_BYTES, Figures, PluginHost
from .installation import Installation, install_plugin
from .model_server import Asked, Failure, ModelServer

TENANT = "3a1f0c52-6f3f-4f55-9a0e-4f2f3c1f7b10"


@dataclass(frozen=True, slots=True)
class Limits:
    """The daemon's and a serverless runtime's; `body_bytes` None is the daemon on its own."""

    line_bytes: int = MAX_LINE_BYTES
    body_bytes: int | None = None
    execution_seconds: float = MAX_EXECUTION_SECONDS


class Stand:
    """One plugin, its daemon and its model. Made by `standing`."""

    def __init__(self, background: Background, face: Face, model: ModelServer) -> None:
        self._background = background
        self.face = face
        self.model = model

    @property
    def url(self) -> str:
        """The daemon's origin: what PLUGIN_DAEMON_URL would say."""
        return self.face.url

    @property
    def key(self) -> str:
        """The daemon's key: what PLUGIN_DAEMON_KEY would say."""
        return self.face.key

    @property
    def plugin(self) -> Installation:
        """Where the plugin is installed."""
        return self.face.host.installation

    @property
    def received(self) -> list[Received]:
        """What the daemon was sent, in order."""
        return self.face.received

    @property
    def asked(self) -> list[Asked]:
        """What the model was asked, in order."""
        return self.model.asked

    def start_plugin(self) -> None:
        """Have the plugin running and ready, so that a call does not wait for it."""

        async def start() -> None:
            await self.face.host.start()

        self._background.run(start())

    def kill_plugin(self) -> None:
        """Kill its process, as `kill -9` does, and wait for its end. The next call starts another."""
        self._background.run(self.face.host.kill())

    def figures(self) -> Figures:
        """Return what the plugin's process has used."""
        return self.face.host.figures()

    def forget_peak(self) -> None:
        """Let the plugin's peak memory count from now on."""
        self.face.host.forget_peak()

    def forget(self) -> None:
        """Empty what daemon and model have recorded, and let both go on as at first."""
        self.received.clear()
        self.face.keeps_bodies = False
        self.asked.clear()
        self.model.pieces = 100
        self.model.failure = None
        self.release()

    def fail(self, failure: Failure) -> None:
        """Let the model's next answers fail, until `forget`."""
        self.model.failure = failure

    def release(self) -> None:
        """Let the model's answers that hang go on."""

        async def release() -> None:
            self.model.release()

        self._background.run(release())


@contextmanager
def standing(
    environment: Environment,
    root: Path,
    limits: Limits | None = None,
    variables: Mapping[str, str] | None = None,
) -> Generator[Stand]:
    """Put a stand up in a folder, for the SDK of an environment; take it down, and leave nothing.

    `variables` are the plugin's environment variables beside the few that it always has.
    """
    limits = limits or Limits()
    installation = install_plugin(environment, root)
    with Background() as background:
        open_parts = AsyncExitStack()

        async def put_up() -> Stand:
            host = PluginHost(installation, variables, limits.line_bytes)
            open_parts.push_async_callback(host.close)
            face = Face(host, max_body_bytes=limits.body_bytes)
            face.max_execution_seconds = limits.execution_seconds
            model = ModelServer()
            origin = await open_parts.enter_async_context(on_loopback(model.application()))
            model.url = f"{origin}/v1"
            face.url = await open_parts.enter_async_context(on_loopback(face.application()))
            return Stand(background, face, model)

        try:
            yield background.run(put_up())
        finally:
            background.run(open_parts.aclose())
