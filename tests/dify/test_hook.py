"""The plugin hook with the SDKs that run on every Python of ours."""

import pytest

from coatcheck.client.dify import take_away

from ..clients.environments import DIFY_ECHOING, DIFY_OLD
from .api_client import ApiClient, DaemonError
from .hooked import SHOWN, Coatcheck, HookContract, LeanHookContract, beside
from .prompt import image, invocation, picture, user
from .stand import Stand

__all__ = ["beside"]
pytestmark = pytest.mark.system


class TestEchoingSdk(HookContract):
    environment = DIFY_ECHOING


class TestOldSdk(LeanHookContract):
    environment = DIFY_OLD

    def test_without_the_store_what_the_daemon_has_goes_on(
        self, stand: Stand, api: ApiClient, beside: Coatcheck
    ) -> None:
        """The last: nothing else finds the store afterwards."""
        known, new = beside.put(SHOWN), beside.put(picture(1000, 99))
        api.invoke(invocation(stand.model.url, [user("?", image(SHOWN, known))]))
        beside.store.kill()
        beside.store.wait(20)
        with pytest.raises(DaemonError, match="503 store_unavailable") as caught:
            api.invoke(invocation(stand.model.url, [user("?", image(SHOWN, new))]))
        assert caught.value.kind == "InvokeConnectionError"
        api.invoke(invocation(stand.model.url, [user("?", image(SHOWN, known))]))
        assert [asked.parts[0].sha256 for asked in stand.asked] == [SHOWN.sha256] * 2
        assert take_away(stand.plugin.folder)[0].state == "removed"
