"""What the loop must show with the hook in the plugin, for each SDK: refs as far as the model's class."""

from collections.abc import Callable, Generator

import pytest

from coatcheck.protocol import JsonObject

from ..clients.environments import Environment
from .api_client import ApiClient, DaemonError
from .host import MAX_LINE_BYTES
from .loop_contract import (
    CHUNKS,
    IS_NIGHTLY,
    MAX_REF_REQUEST_BYTES,
    MAX_RESPONSE_BYTES,
    QUESTION,
    check_shown,
)
from .middle import MAX_BODY_BYTES, Front, client_of
from .model_server import words
from .prompt import Picture, assistant, image, invocation, picture, user
from .stand import Stand


class LoopHookContract:
    """Subclasses name the environment. Its plugin daemon takes no body over `MAX_BODY_BYTES`."""

    environment: Environment

    @pytest.fixture
    def front(self, hooked: Callable[[Environment], Front]) -> Front:
        return hooked(self.environment)

    @pytest.fixture
    def stand(self, front: Front) -> Stand:
        return front.stand

    @pytest.fixture
    def through(self, front: Front) -> Generator[ApiClient]:
        with front.api() as client:
            yield client

    @pytest.fixture
    def direct(self, front: Front) -> Generator[ApiClient]:
        with client_of(front.stand) as client:
            yield client

    def test_a_ref_reaches_the_plugin_as_it_is(
        self, front: Front, stand: Stand, through: ApiClient, direct: ApiClient
    ) -> None:
        shown = picture(2_600_000)
        (ref,) = front.put(shown)
        named = invocation(stand.model.url, [user(QUESTION, image(shown, ref))])
        for api in (through, direct):
            stand.forget()
            answer = api.invoke(named)
            check_shown(stand.asked, answer, shown)
            (received,) = stand.received
            assert answer.request_bytes == received.size < MAX_REF_REQUEST_BYTES
            assert received.bytes_to_plugin < 2 * MAX_REF_REQUEST_BYTES
            assert received.bytes_from_plugin < 2 * MAX_RESPONSE_BYTES
            assert answer.response_bytes == received.answer_bytes < MAX_RESPONSE_BYTES

    def test_base64_becomes_a_ref_in_front_of_the_plugin_daemon(
        self, stand: Stand, through: ApiClient
    ) -> None:
        shown = picture(2_600_000, 7)
        answer = through.invoke(invocation(stand.model.url, [user(QUESTION, image(shown))]))
        check_shown(stand.asked, answer, shown)
        assert stand.received[0].size < MAX_REF_REQUEST_BYTES

    def test_tokens_of_refs_are_counted_by_the_plugin(
        self, front: Front, stand: Stand, through: ApiClient, direct: ApiClient
    ) -> None:
        shown = picture(10_000)
        (ref,) = front.put(shown)
        inline, named = (
            invocation(stand.model.url, [user("a b c", each), assistant("d")])
            for each in (image(shown), image(shown, ref))
        )
        counted = direct.count_tokens(inline)
        assert [api.count_tokens(named) for api in (through, direct)] == [counted, counted]
        assert (stand.asked, stand.received[-1].size < MAX_REF_REQUEST_BYTES) == ([], True)

    def test_many_images_meet_no_limit(
        self, front: Front, stand: Stand, through: ApiClient, direct: ApiClient
    ) -> None:
        pictures, shown = _many(front, 2_600_000 if IS_NIGHTLY else 350_000)
        data = invocation(stand.model.url, [user(QUESTION, *shown)])
        for api in (through, direct):
            stand.forget()
            answer = api.invoke(data)
            assert answer.text == "".join(words(QUESTION, CHUNKS))
            assert [part.sha256 for part in stand.asked[0].parts] == [p.sha256 for p in pictures]
            assert stand.received[0].size < MAX_BODY_BYTES / 100
        figures = stand.figures()
        assert max(figures.longest_to_plugin, figures.longest_from_plugin) < MAX_LINE_BYTES / 100
        inline = invocation(stand.model.url, [user(QUESTION, *map(image, pictures))])
        with pytest.raises(DaemonError, match=f"smaller than {MAX_BODY_BYTES}"):
            direct.invoke(inline)


def _many(front: Front, size: int) -> tuple[list[Picture], list[JsonObject]]:
    """Put 15 pictures of a size; return them, and the contents of a message that name them."""
    pictures = [picture(size, 200 + number) for number in range(15)]
    refs = front.put(*pictures)
    return pictures, [image(each, ref) for each, ref in zip(pictures, refs, strict=True)]
