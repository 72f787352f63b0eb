"""What the harness itself must show, with nothing of ours in the middle, for each SDK."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic_core import from_json

from ..clients.environments import Environment
from .api_client import ApiClient, DaemonError
from .model_server import words
from .prompt import assistant, document, image, invocation, picture, user
from .stand import Stand

CHUNKS = 100


class HarnessContract:
    """Subclasses name the environment, and the size of the image that their SDK can take in time."""

    environment: Environment
    image_bytes = 2_600_000
    echoes = False

    @pytest.fixture
    def stand(self, stands: Callable[[Environment], Stand]) -> Stand:
        return stands(self.environment)

    @pytest.fixture
    def api(self, stand: Stand) -> Generator[ApiClient]:
        with ApiClient(stand.url, stand.key, stand.plugin.plugin_id) as client:
            yield client

    def test_an_image_reaches_the_model_and_its_answer_the_client(
        self, stand: Stand, api: ApiClient
    ) -> None:
        shown = picture(self.image_bytes)
        answer = api.invoke(invocation(stand.model.url, [user("What is it?", image(shown))]))
        (asked,) = stand.asked
        (part,) = asked.parts
        assert (part.sha256, part.size) == (shown.sha256, len(shown.data))
        assert (part.media_type, asked.text) == ("image/jpeg", "What is it?")
        assert len(answer.chunks) == CHUNKS + 1  # the last holds the usage
        assert answer.text == "".join(words("What is it?", CHUNKS))
        assert answer.total_tokens == 3 + 85 + CHUNKS
        assert all(chunk.prompt_messages == [] for chunk in answer.chunks)
        (received,) = stand.received
        inline = len(shown.data) * 4 // 3
        assert answer.request_bytes == received.size > inline
        assert answer.response_bytes == received.answer_bytes < 40_000
        figures = stand.figures()
        assert (
            figures.bytes_to_plugin
            >= figures.longest_to_plugin
            >= received.bytes_to_plugin
            > inline
        )
        assert figures.longest_from_plugin > 100
        assert figures.cpu_seconds > 0
        assert (received.bytes_from_plugin > CHUNKS * inline) == self.echoes
        assert self.echoes or received.bytes_from_plugin < 60_000

    def test_tokens_are_counted_by_the_plugin(self, stand: Stand, api: ApiClient) -> None:
        messages = [user("one two three", image(picture(1000))), assistant("four"), user("five")]
        assert api.count_tokens(invocation(stand.model.url, messages)) == 3 * 3 + 3 + 5 + 3
        assert stand.asked == []
        assert stand.received[0].path.endswith("/dispatch/llm/num_tokens")

    def test_contents_of_each_type_reach_the_model_class(
        self, stand: Stand, api: ApiClient
    ) -> None:
        shown = picture(1000)
        kinds = ("document", "audio", "video")
        contents = [image(shown), *(document(shown, kind=kind) for kind in kinds)]
        data = invocation(stand.model.url, [user("Hello", *contents)], tells_contents=True)
        api.invoke(data)
        (asked,) = stand.asked
        assert [content.kind for content in asked.contents] == ["image", *kinds]
        assert {content.sha256 for content in asked.contents} == {shown.sha256}

    def test_sessions_share_the_pipes_and_nothing_else(self, stand: Stand, api: ApiClient) -> None:
        def ask(number: int) -> str:
            shown = image(picture(5000, number))
            return api.invoke(invocation(stand.model.url, [user(f"No. {number}", shown)])).text

        stand.model.pieces = 20
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(8)))
        assert answers == ["".join(words(f"No. {number}", 20)) for number in range(8)]
        assert {asked.parts[0].sha256 for asked in stand.asked} == {
            picture(5000, number).sha256 for number in range(8)
        }

    def test_a_model_that_fails_is_an_error_of_the_plugin(
        self, stand: Stand, api: ApiClient
    ) -> None:
        stand.fail(429)
        with pytest.raises(DaemonError, match="429") as caught:
            api.invoke(invocation(stand.model.url, [user("Hello")]))
        inner = from_json(caught.value.message)
        assert (caught.value.kind, inner["error_type"]) == ("PluginInvokeError", "InvokeError")
