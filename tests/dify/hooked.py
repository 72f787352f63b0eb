"""What the plugin hook must show in a real plugin's process, for each SDK, over a real daemon."""

import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.server_process import ServerProcess

from coatcheck.client import Client
from coatcheck.client.dify import HookConfig, place

from ..clients.environments import Environment
from .api_client import ApiClient, DaemonError
from .conftest import skip_without
from .model_server import words
from .peak import peaks
from .prompt import Picture, image, invocation, picture, user
from .stand import Stand, standing

SHOWN = picture(2_600_000)
ABSENT = f"blob:sha256:{'0' * 64}"


@dataclass(frozen=True)
class Coatcheck:
    """A store and a daemon beside the plugins, each in a process of its own."""

    client: Client
    socket: Path
    store: ServerProcess

    def put(self, of: Picture) -> str:
        """Hand a picture in; return its ref."""
        return self.client.put(of.data).ref


@contextmanager
def coatcheck(folder: Path) -> Generator[Coatcheck]:
    """Run a store, and a daemon of it that listens at a socket; end both."""
    with ExitStack() as stack:

        def start(*args: str) -> ServerProcess:
            command = (sys.executable, "-m", "coatcheck.cli", *args, "--port", "0")
            log = folder / f"{args[0]}.log"
            return stack.enter_context(ServerProcess(command, cwd=folder, log=log))

        store = start("serve")
        start("daemon", "--store", store.url, "--uds", "socket")
        client = stack.enter_context(Client(store.url))
        yield Coatcheck(client, folder / "socket", store)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Generator[Coatcheck]:
    """One for all SDKs of a module, which imports this."""
    with coatcheck(tmp_path_factory.mktemp("coatcheck")) as running:
        yield running


class HookContract:
    """Subclasses name the environment. The hook is placed in the plugin's own, as it is installed.

    That a ref becomes the image, and tokens are counted, `LoopHookContract` has for newer SDKs.
    """

    environment: Environment

    @pytest.fixture(scope="class")
    @classmethod
    def hooked(
        cls, beside: Coatcheck, tmp_path_factory: pytest.TempPathFactory
    ) -> Generator[Stand]:
        skip_without(cls.environment)
        root = tmp_path_factory.mktemp("hooked")
        with standing(cls.environment, root) as stand:
            (placed,) = place(root, HookConfig(socket=beside.socket))
            assert (placed.environment, placed.state) == (stand.plugin.folder / ".venv", "placed")
            yield stand

    @pytest.fixture
    def stand(self, hooked: Stand) -> Stand:
        hooked.forget()
        return hooked

    @pytest.fixture
    def api(self, stand: Stand) -> Generator[ApiClient]:
        with ApiClient(stand.url, stand.key, stand.plugin.plugin_id) as client:
            yield client

    def test_tokens_are_counted_without_the_bytes_on_any_wire(
        self, stand: Stand, api: ApiClient, beside: Coatcheck
    ) -> None:
        inline, named = (
            invocation(stand.model.url, [user("one two", image(picture(1000), ref))])
            for ref in (None, ABSENT)  # the SDK counts text alone: nothing is fetched
        )
        counted = api.count_tokens(inline)
        assert api.count_tokens(named) == counted > 0
        assert stand.received[-1].bytes_to_plugin < 1000
        place(stand.plugin.folder, HookConfig(socket=beside.socket, splice=False))
        with pytest.raises(DaemonError, match="blob_not_found"):
            api.count_tokens(named)
        place(stand.plugin.folder, HookConfig(socket=beside.socket))

    def test_many_invocations_at_once_have_each_its_own(
        self, stand: Stand, api: ApiClient, beside: Coatcheck
    ) -> None:
        pictures = [picture(30_000, number) for number in range(32)]
        refs = [beside.put(of) for of in pictures]

        def ask(number: int) -> str:
            shown = image(pictures[number], refs[number])
            return api.invoke(invocation(stand.model.url, [user(f"No. {number}", shown)])).text

        stand.model.pieces = 20
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(ask, range(32)))
        assert answers == ["".join(words(f"No. {number}", 20)) for number in range(32)]
        got = {asked.text: asked.parts[0].sha256 for asked in stand.asked}
        assert got == {f"No. {number}": of.sha256 for number, of in enumerate(pictures)}

    def test_what_cannot_be_resolved_is_difys_own_error(
        self, stand: Stand, api: ApiClient, beside: Coatcheck, tmp_path: Path
    ) -> None:
        folder = stand.plugin.folder

        def fault(ref: str) -> DaemonError:
            with pytest.raises(DaemonError) as caught:
                api.invoke(invocation(stand.model.url, [user("?", image(SHOWN, ref))]))
            return caught.value

        absent = fault(ABSENT)
        assert absent.kind == "InvokeBadRequestError"
        assert f"blob_not_found: {ABSENT[5:]} at data.prompt_messages.0." in absent.message
        place(folder, HookConfig(socket=tmp_path / "nobody"))  # the plugin reads it anew
        assert fault(beside.put(SHOWN)).kind == "InvokeConnectionError"
        assert api.invoke(invocation(stand.model.url, [user("Hello")])).chunks
        place(folder, HookConfig(socket=beside.socket))
        api.invoke(invocation(stand.model.url, [user("?", image(SHOWN, beside.put(SHOWN)))]))
        assert stand.asked[-1].parts[0].sha256 == SHOWN.sha256


class LeanHookContract(HookContract):
    """For the SDKs whose peak is promised."""

    def test_a_plugins_peak_is_little_more_than_the_base64_of_one_request(
        self, stand: Stand, api: ApiClient, beside: Coatcheck
    ) -> None:
        for taken in peaks(stand, api, beside.put, 2):
            assert 1 < taken < 1.5
