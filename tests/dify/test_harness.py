"""The harness with the SDKs that run on every Python of ours, and the parts that need no plugin."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from pydantic_core import from_json, to_json

from ..clients.environments import DIFY_ECHOING, DIFY_OLD, Environment
from .api_client import ApiClient, DaemonError
from .contract import CHUNKS, HarnessContract
from .prompt import image, invocation, picture, user
from .slim import slim_binary
from .stand import TENANT, Limits, Stand, standing

pytestmark = pytest.mark.system


class TestEchoingSdk(HarnessContract):
    environment = DIFY_ECHOING
    image_bytes = 20_000  # it takes seconds for megabytes, and says them again in each chunk
    echoes = True


class TestOldSdk(HarnessContract):
    environment = DIFY_OLD


@pytest.fixture
def stand(stands: Callable[[Environment], Stand]) -> Stand:
    return stands(DIFY_OLD)


def test_the_slim_executable_makes_frames_to_lines(stand: Stand, tmp_path: Path) -> None:
    data = invocation(stand.model.url, [user("Hello", image(picture(1000)))])
    done = subprocess.run(
        [slim_binary(tmp_path), "-id", stand.plugin.unique_identifier, "-action", "invoke_llm"],
        input=to_json({"data": data}),
        env={"SLIM_DAEMON_ADDR": stand.url, "SLIM_DAEMON_KEY": stand.key},
        capture_output=True,
        check=True,
    )
    events = [from_json(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["message", *["chunk"] * (CHUNKS + 1), "done"]
    assert events[1]["data"]["data"]["prompt_messages"] == []
    assert stand.received[0].path == "/v2/invoke/dispatch/llm/invoke"


def test_what_the_structs_do_not_name_does_not_reach_the_plugin(stand: Stand) -> None:
    shown = image(picture(1000)) | {"coatcheck": "x" * 5000}
    with ApiClient(stand.url, stand.key, stand.plugin.plugin_id) as api:
        api.invoke(invocation(stand.model.url, [user("Hello", shown)]))
    (received,) = stand.received
    assert received.size > received.bytes_to_plugin + 4000


@pytest.mark.parametrize(
    ("key", "plugin", "code"),
    [("wrong", "coatcheck/loopback", "-401"), (None, "", "-400"), (None, "a/b", "-404")],
)
def test_a_request_without_its_headers_is_refused(
    stand: Stand, key: str | None, plugin: str, code: str
) -> None:
    with (
        ApiClient(stand.url, key or stand.key, plugin) as api,
        pytest.raises(DaemonError, match=f"code: {code}"),
    ):
        api.invoke(invocation(stand.model.url, [user("Hello")]))


def test_other_paths_are_answered(stand: Stand) -> None:
    with ApiClient(stand.url, stand.key, stand.plugin.plugin_id) as api:
        (entry,) = api.get("management/list").json()["data"]
        assert (entry["plugin_id"], entry["tenant_id"]) == ("coatcheck/loopback", TENANT)
        assert len(api.get("asset/icon").content) == 4096
        assert api.get("unknown").status_code == 404


def test_limits_of_lines_bodies_and_time_and_nothing_left_running(tmp_path: Path) -> None:
    limits = Limits(line_bytes=3_000, body_bytes=200_000)
    with standing(DIFY_ECHOING, tmp_path, limits) as stand:
        data = invocation(stand.model.url, [user("Hello", image(picture(10_000)))])
        with ApiClient(stand.url, stand.key, stand.plugin.plugin_id) as api:
            stand.start_plugin()
            # The echo makes a line that is longer than the pipe's limit: the plugin is killed.
            with pytest.raises(DaemonError, match="ConnectionClosedError"):
                api.invoke(data)
            with pytest.raises(DaemonError, match="smaller than 200000 bytes"):
                api.invoke(invocation(stand.model.url, [user("Hello", image(picture(200_000)))]))
            stand.start_plugin()
            stand.fail("hang")
            stand.face.max_execution_seconds = 0.5
            with pytest.raises(DaemonError, match="killed by timeout") as caught:
                api.invoke(invocation(stand.model.url, [user("Hello")]))
            assert caught.value.kind == "PluginDaemonInternalServerError"
        process_id = stand.face.host.process_id
        assert process_id
        assert psutil.pid_exists(process_id)
        assert stand.figures().peak_rss_bytes > 10_000_000
    assert not psutil.pid_exists(process_id)
