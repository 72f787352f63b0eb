"""The plugin hook with the SDKs that run on every Python of ours."""

import pytest

from coatcheck.client.dify import take_away

from ..clients.environments import DIFY_ECHOING, DIFY_OLD
from .api_client import ApiClient, DaemonError
from .contract import CHUNKS
from .hooked import SHOWN, Coatcheck, HookContract, LeanHookContract, beside
from .model_server import words
from .prompt import image, invocation, picture, user
from .stand import Stand

__all__ = ["beside"]
pytestmark = pytest.mark.system


class TestEchoingSdk(HookContract):
    environment = DIFY_ECHOING

    def test_a_ref_reaches_the_model_as_the_image_and_nothing_comes_back(
        self, stand: Stand, api: ApiClient, beside: Coatcheck
    ) -> None:
        shown = image(SHOWN, beside.put(SHOWN))
        answer = api.invoke(invocation(stand.model.url, [user("What is it?", shown)]))
        (part,) = stand.asked[0].parts
        assert (part.sha256, part.media_type) == (SHOWN.sha256, "image/jpeg")
        assert answer.text == "".join(words("What is it?", CHUNKS))
        (received,) = stand.received
        assert answer.request_bytes == received.size < 1000
        assert received.bytes_to_plugin < 1000
        assert max(answer.response_bytes, received.bytes_from_plugin) < 40_000

    def test_tokens_are_counted_without_the_bytes_on_any_wire(
        self, stand: Stand, api: ApiClient, beside: Coatcheck
    ) -> None:
        shown = image(SHOWN, beside.put(SHOWN))
        assert api.count_tokens(invocation(stand.model.url, [user("one two", shown)])) > 0
        assert stand.received[0].bytes_to_plugin < 1000


class TestOldSdk(LeanHookContract):
    environment = DIFY_OLD

    def test_without_the_store_what_the_daemon_has_goes_on(
        self, stand: Stand, api: ApiClient, beside: Coatcheck
    ) -> None:
        """The last: nothing else finds the store afterwards."""
        known, new = beside.put(SHOWN), beside.put(picture(1000, 99))
        api.invoke(invocation(stand.model.url, [user("?", image(SHOWN, known))]))
        beside.store.kill()
        with pytest.raises(DaemonError, match="503 store_unavailable") as caught:
            api.invoke(invocation(stand.model.url, [user("?", image(SHOWN, new))]))
        assert caught.value.kind == "InvokeConnectionError"
        api.invoke(invocation(stand.model.url, [user("?", image(SHOWN, known))]))
        assert [asked.parts[0].sha256 for asked in stand.asked] == [SHOWN.sha256] * 2
        assert take_away(stand.plugin.folder)[0].state == "removed"
