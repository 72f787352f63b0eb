"""What the loop must show when much happens at once, and when something fails."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from coatcheck.protocol import Digest, JsonObject

from .api_client import Answer, ApiClient, DaemonError
from .loop_contract import CHUNKS, QUESTION
from .middle import Way, client_of
from .model_server import Failure, words
from .prompt import image, invocation, picture, user
from .stand import Stand

AT_ONCE = 32
_PATIENCE_SECONDS = 30.0


class FaultContract:
    """Subclasses give the fixture `way`: what stands before the plugin daemon."""

    @pytest.fixture
    def stand(self, way: Way) -> Stand:
        return way.stand

    @pytest.fixture
    def api(self, way: Way) -> Generator[ApiClient]:
        with way.api() as client:
            yield client

    def test_many_at_once_have_each_their_own(self, way: Way, stand: Stand, api: ApiClient) -> None:
        """Every third session names its images by refs, and has one that all others have too."""
        stand.model.pieces = 20
        common = picture(20_000)
        shown = {
            number: [common, *(picture(10_000, 1000 * number + n) for n in range(number % 3))]
            for number in range(AT_ONCE)
        }
        data: dict[int, JsonObject] = {}
        for number, pictures in shown.items():
            refs = way.put(*pictures) if number % 3 == 0 else [None] * len(pictures)
            contents = map(image, pictures, refs)
            data[number] = invocation(stand.model.url, [user(f"No. {number}", *contents)])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(api.invoke, data.values()))
        assert [len(answer.chunks) for answer in answers] == [21] * AT_ONCE
        assert [answer.text for answer in answers] == [
            "".join(words(f"No. {number}", 20)) for number in range(AT_ONCE)
        ]
        assert len(stand.asked) == AT_ONCE
        assert {asked.text: [part.sha256 for part in asked.parts] for asked in stand.asked} == {
            f"No. {number}": [each.sha256 for each in pictures]
            for number, pictures in shown.items()
        }

    def test_a_plugin_killed_mid_stream_is_difys_error_and_the_next_call_works(
        self, stand: Stand, api: ApiClient
    ) -> None:
        data = invocation(stand.model.url, [user(QUESTION, image(picture(5000)))])
        stand.fail("hang")
        stream = api.stream(data, Answer())
        for _ in range(stand.model.pieces_before_hang - 1):
            next(stream)
        stand.kill_plugin()
        with pytest.raises(DaemonError, match="ConnectionClosedError") as caught:
            list(stream)
        assert caught.value.kind == "PluginInvokeError"
        stand.forget()
        assert len(api.invoke(data).chunks) == CHUNKS + 1

    @pytest.mark.parametrize("failure", [400, 401, 429, 500])
    def test_a_models_error_is_the_same_as_without_us(
        self, stand: Stand, api: ApiClient, failure: Failure
    ) -> None:
        data = invocation(stand.model.url, [user(QUESTION, image(picture(5000)))])
        stand.fail(failure)
        raised: list[tuple[str, str, JsonObject]] = []
        with client_of(stand) as direct:
            for client in (direct, api):
                with pytest.raises(DaemonError, match=str(failure)) as caught:
                    client.invoke(data)
                raised.append((caught.value.kind, caught.value.message, caught.value.details))
        assert raised[0] == raised[1]
        assert len(stand.asked) == 2

    def test_a_refusal_of_the_plugin_daemon_is_the_same_as_without_us(
        self, way: Way, stand: Stand
    ) -> None:
        data = invocation(stand.model.url, [user(QUESTION)])
        said: list[str] = []
        for url in (stand.url, way.url):
            with (
                ApiClient(url, stand.key, "nobody/nothing") as client,
                pytest.raises(DaemonError, match="code: -404") as caught,
            ):
                client.invoke(data)
            said.append(str(caught.value))
        assert said[0] == said[1]

    def test_a_ref_that_names_nothing_is_told_with_where_it_stands(
        self, stand: Stand, api: ApiClient
    ) -> None:
        lost = Digest.of(b"lost")
        known = image(picture(5000))
        shown = image(picture(100), f"blob:{lost}")
        data = invocation(stand.model.url, [user(QUESTION, known, shown)])
        for ask in (api.invoke, api.count_tokens):
            with pytest.raises(DaemonError) as caught:
                ask(data)
            assert caught.value.kind == "InvokeBadRequestError"
            assert caught.value.details["code"] == "blob_not_found"
            path = "data.prompt_messages.0.content.2.url"
            assert caught.value.details["missing"] == [{"digest": str(lost), "path": path}]
        assert stand.received == []

    def test_a_client_that_goes_ends_the_request_at_the_plugin_daemon(
        self, stand: Stand, api: ApiClient
    ) -> None:
        stand.model.pieces = 1500
        data = invocation(stand.model.url, [user(QUESTION, image(picture(5000)))])
        whole = api.invoke(data).response_bytes
        stream = api.stream(data, Answer())
        next(stream)
        stream.close()
        assert stand.received[-1].is_over.wait(_PATIENCE_SECONDS)
        assert stand.received[-1].answer_bytes < whole / 2
