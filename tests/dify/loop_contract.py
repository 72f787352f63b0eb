"""What the loop must show, with only the middle ours, for each SDK: before the plugin daemon, and at an edge."""

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import httpx
import pytest

from coatcheck.protocol import JsonObject, decode_json

from ..clients.environments import Environment
from .api_client import Answer, ApiClient
from .middle import Edge, Front, client_of
from .model_server import Asked, words
from .prompt import Picture, assistant, image, invocation, picture, user
from .stand import TENANT, Stand

IS_NIGHTLY = "COATCHECK_NIGHTLY" in os.environ
CHUNKS = 100
MAX_REF_REQUEST_BYTES = 1000
MAX_RESPONSE_BYTES = 40_000
QUESTION = "What is it?"


class InFrontContract:
    """Subclasses name the environment, and the size of the image that their SDK can take in time."""

    environment: Environment
    image_bytes = 2_600_000

    @pytest.fixture
    def front(self, fronts: Callable[[Environment], Front]) -> Front:
        return fronts(self.environment)

    @pytest.fixture
    def stand(self, front: Front) -> Stand:
        return front.stand

    @pytest.fixture
    def api(self, front: Front) -> Generator[ApiClient]:
        with front.api() as client:
            yield client

    def test_base64_passes_as_it_came(self, stand: Stand, api: ApiClient) -> None:
        shown = picture(self.image_bytes)
        answer = api.invoke(invocation(stand.model.url, [user(QUESTION, image(shown))]))
        check_shown(stand.asked, answer, shown)
        (received,) = stand.received
        assert answer.request_bytes == received.size > len(shown.data) * 4 // 3
        assert answer.response_bytes == received.answer_bytes < MAX_RESPONSE_BYTES

    def test_a_ref_is_small_on_its_way_and_the_image_at_its_end(
        self, front: Front, stand: Stand, api: ApiClient
    ) -> None:
        shown = picture(self.image_bytes)
        (ref,) = front.put(shown)
        answer = api.invoke(invocation(stand.model.url, [user(QUESTION, image(shown, ref))]))
        check_shown(stand.asked, answer, shown)
        (received,) = stand.received
        inline = -(-len(shown.data) // 3) * 4
        assert answer.request_bytes < MAX_REF_REQUEST_BYTES
        # In the ref's place stands base64, and nothing else has changed.
        assert received.size == answer.request_bytes - len(ref) + inline
        assert received.bytes_to_plugin > inline
        assert answer.response_bytes == received.answer_bytes < MAX_RESPONSE_BYTES

    def test_tokens_of_refs_are_counted_by_the_plugin(
        self, front: Front, stand: Stand, api: ApiClient
    ) -> None:
        shown = picture(10_000)
        (ref,) = front.put(shown)
        inline, named = (
            invocation(stand.model.url, [user("a b c", each), assistant("d"), user("e")])
            for each in (image(shown), image(shown, ref))
        )
        with client_of(stand) as direct:
            expected = direct.count_tokens(inline)
        assert [api.count_tokens(inline), api.count_tokens(named)] == [expected] * 2
        assert stand.asked == []
        assert {received.path for received in stand.received} == {
            f"/plugin/{TENANT}/dispatch/llm/num_tokens"
        }
        assert min(received.size for received in stand.received) > len(shown.data) * 4 // 3

    def test_the_form_without_a_tenant_is_the_same(self, front: Front, stand: Stand) -> None:
        shown = picture(10_000)
        (ref,) = front.put(shown)
        data = invocation(stand.model.url, [user(QUESTION, image(shown, ref))])
        answer = httpx.post(
            f"{front.url}/v2/invoke/dispatch/llm/invoke",
            headers={
                "X-Api-Key": stand.key,
                "X-Plugin-Unique-Identifier": stand.plugin.unique_identifier,
            },
            json={"user_id": "u", "data": data},
            trust_env=False,
        )
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.text.count("data: ") == CHUNKS + 1
        assert stand.asked[0].parts[0].sha256 == shown.sha256
        assert stand.received[0].path == "/v2/invoke/dispatch/llm/invoke"


@dataclass(frozen=True)
class Talk:
    """A conversation as Dify sends it with memory on: in each turn all before it once more, images inline.

    After greetings the first question has all images.
    """

    pictures: Sequence[Picture]
    answers: Sequence[str]

    def messages(self, turn: int) -> list[JsonObject]:
        """Return what is sent in a turn, from 0 on."""
        told = [user("Hello."), assistant("Hello!"), user(_question(0), *map(image, self.pictures))]
        for number in range(turn):
            told += [assistant(self.answers[number]), user(_question(number + 1))]
        return told

    def text(self, turn: int) -> str:
        """Return all the text that the model is to be given then."""
        pairs = (f"{self.answers[number]}{_question(number + 1)}" for number in range(turn))
        return f"Hello.Hello!{_question(0)}{''.join(pairs)}"


class EdgeContract:
    """Subclasses name the environment."""

    environment: Environment
    images = 15
    image_bytes = 2_600_000 if IS_NIGHTLY else 100_000
    chunks = CHUNKS if IS_NIGHTLY else 20
    turns = 10

    @pytest.fixture
    def edge(self, edges: Callable[[Environment], Edge]) -> Edge:
        return edges(self.environment)

    def test_images_and_history_cross_between_the_hosts_once(self, edge: Edge) -> None:
        stand = edge.stand
        stand.model.pieces = self.chunks
        pictures = [picture(self.image_bytes, 100 + number) for number in range(self.images)]
        talk = Talk(pictures, [f"It is no. {number}." for number in range(self.turns)])
        spent: list[int] = []
        counted: list[int] = []
        with edge.api() as api:
            for turn in range(self.turns):
                stand.face.keeps_bodies = turn == self.turns - 1
                before = edge.passed
                data = invocation(stand.model.url, talk.messages(turn))
                counted.append(api.count_tokens(data))
                answer = api.invoke(data)
                spent.append(edge.passed - before)
                _check_many(stand.asked[-1], talk.text(turn), pictures, answer)
                assert len(answer.chunks) == self.chunks + 1
                assert answer.request_bytes > self.images * self.image_bytes * 4 // 3
        raw = sum(len(each.data) for each in pictures)
        assert raw < spent[0] < raw * 1.02 + 100_000
        # Today base64 goes twice a turn: to have its tokens counted, and to be answered.
        today = 2 * raw * 4 // 3
        assert max(spent[1:]) < today / 100, spent
        # The last turn without us: the plugin daemon got no other, nor the model.
        through, asked = stand.received[-1], stand.asked[-1]
        data = invocation(stand.model.url, talk.messages(self.turns - 1))
        with client_of(stand) as direct:
            assert direct.count_tokens(data) == counted[-1]
            direct.invoke(data)
        assert stand.asked[-1] == asked
        assert decode_json(stand.received[-1].body) == decode_json(through.body)

    def test_images_stay_known_when_memory_drops_its_oldest_messages(self, edge: Edge) -> None:
        stand = edge.stand
        pictures = [picture(100_000, 300 + number) for number in range(3)]
        talk = Talk(pictures, ["It is so."])
        with edge.api() as api:
            api.invoke(invocation(stand.model.url, talk.messages(0)))
            before = edge.passed
            answer = api.invoke(invocation(stand.model.url, talk.messages(1)[2:]))
        _check_many(stand.asked[-1], talk.text(1).removeprefix("Hello.Hello!"), pictures, answer)
        assert edge.passed - before < MAX_RESPONSE_BYTES + 3 * MAX_REF_REQUEST_BYTES

    def test_keys_reach_whom_they_are_for(self, edge: Edge) -> None:
        stand, shown = edge.stand, picture(10_000)
        stand.face.keeps_bodies = True
        with edge.api() as api:
            api.invoke(invocation(stand.model.url, [user(QUESTION, image(shown))]))
            listed = api.get("management/list")
        assert listed.json()["data"][0]["plugin_id"] == stand.plugin.plugin_id
        assert len(stand.received) == 2
        for received in stand.received:
            headers = {name.lower(): value for name, value in received.headers}
            assert headers["x-api-key"] == stand.key
            assert headers["x-plugin-id"] == stand.plugin.plugin_id
            assert not [name for name in headers if name.startswith("coatcheck")]
            assert "cck_" not in f"{received.headers}{received.body.decode()}"


def check_shown(asked: Sequence[Asked], answer: Answer, shown: Picture) -> None:
    """The model got the picture, and whoever asked all of the answer."""
    (only,) = asked
    (part,) = only.parts
    assert (part.sha256, part.size, part.url) == (shown.sha256, len(shown.data), "")
    assert (part.media_type, only.text) == ("image/jpeg", QUESTION)
    assert len(answer.chunks) == CHUNKS + 1  # the last holds the usage
    assert answer.text == "".join(words(QUESTION, CHUNKS))
    assert all(chunk.prompt_messages == [] for chunk in answer.chunks)


def _check_many(asked: Asked, text: str, pictures: Sequence[Picture], answer: Answer) -> None:
    """The model got these, and whoever asked all of the answer."""
    assert asked.text == text
    assert [part.sha256 for part in asked.parts] == [each.sha256 for each in pictures]
    assert answer.text == "".join(words(text, len(answer.chunks) - 1))
    assert all(chunk.prompt_messages == [] for chunk in answer.chunks)


def _question(number: int) -> str:
    return f"Question no. {number}?"
