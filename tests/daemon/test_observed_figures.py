"""What requests add to the report: repetitions, images, broken prefixes, what `on` would have sent."""

import base64
from dataclasses import dataclass, field

import pytest

from coatcheck.daemon.marks import Mark, Marker, Seen
from coatcheck.daemon.observation import Mode
from coatcheck.daemon.observed_figures import Figures, Outcome, Request, Terms, judge
from coatcheck.daemon.observed_turn import ReadLimits, read_turn
from coatcheck.protocol import (
    Json,
    JsonObject,
    PromptUsage,
    dialect,
    encode_json,
    prompt_digests,
)

CHAT = dialect("openai.chat")
HOUR = 3600.0
LONG = "A question that nobody asks twice by chance. " * 8
SYSTEM: JsonObject = {"role": "system", "content": "Be brief."}


def user(text: str, *images: bytes) -> JsonObject:
    """Return a question."""
    if not images:
        return {"role": "user", "content": text}
    urls = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in images]
    parts: list[Json] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


def answer(text: str) -> JsonObject:
    """Return an answer."""
    return {"role": "assistant", "content": text}


@dataclass
class Watch:
    """Judges one request after the other, as the file does."""

    terms: Terms = field(default_factory=Terms)
    now: float = 0.0
    memory: dict[Mark, Seen] = field(default_factory=dict[Mark, Seen])
    marker: Marker = field(default_factory=lambda: Marker(bytes(16)))

    def see(
        self, *messages: Json, tenant: str = "t", mode: Mode = "observe", up: int | None = None
    ) -> Outcome:
        return self.see_body({"model": "m", "messages": messages}, tenant, mode, up)

    def see_body(
        self, body: JsonObject, tenant: str = "t", mode: Mode = "observe", up: int | None = None
    ) -> Outcome:
        raw = encode_json(body)
        turn = read_turn(raw, CHAT, ReadLimits())
        size = len(raw) if up is None else up
        request = Request(tenant, "u", mode, self.now, size, 10, turn)
        marks = self.marker.marks(tenant, turn) if turn else None
        outcome = judge(request, marks, self.memory, self.terms)
        self.memory |= outcome.seen
        return outcome


def length(*messages: Json) -> int:
    """Return the bytes of messages, written compactly."""
    return sum(len(encode_json(message)) for message in messages)


def test_a_first_request_repeats_nothing() -> None:
    outcome = Watch().see(SYSTEM, user("one", b"image"))
    assert outcome.figures.repeated_bytes == 0
    assert (outcome.figures.images, outcome.figures.image_bytes) == (1, 5)
    assert outcome.broke_at is None


def test_a_continued_list_repeats_its_known_prefix() -> None:
    watch = Watch()
    first = (SYSTEM, user("one", b"image"))
    watch.see(*first)
    outcome = watch.see(*first, answer("1"), user("two"))
    assert outcome.figures.repeated_bytes == length(*first)
    assert outcome.figures.images == 0
    assert outcome.broke_at is None


def test_the_same_list_again_repeats_all_of_it() -> None:
    watch = Watch()
    list_ = (SYSTEM, user("one", b"image"), answer("1"), user("two"))
    watch.see(*list_)
    outcome = watch.see(*list_)
    assert outcome.figures.repeated_bytes == length(*list_)
    assert outcome.broke_at is None


def test_an_image_in_new_messages_repeats_its_base64() -> None:
    watch = Watch()
    watch.see(user("one", b"image"))
    outcome = watch.see(user("two", b"image", b"other", b"other"))
    assert outcome.figures.repeated_bytes == 8 + 8  # the known one, and the second of two alike
    assert (outcome.figures.images, outcome.figures.image_bytes) == (1, 5)


def test_a_branch_breaks_nothing() -> None:
    watch = Watch()
    start = (SYSTEM, user(LONG))
    watch.see(*start, answer("1"), user("two " + LONG))
    outcome = watch.see(*start, answer("another 1"))
    assert outcome.broke_at is None
    assert outcome.figures.repeated_bytes == length(*start)


def test_a_question_asked_again_in_a_branch_breaks_nothing() -> None:
    watch = Watch()
    watch.see(SYSTEM, user("one"), answer("1"), user(LONG))
    branch = (SYSTEM, user("one"), answer("another"), user(LONG))
    assert watch.see(*branch).broke_at is None
    assert watch.see(*branch, answer("x"), user("y")).broke_at is None


def test_conversations_with_one_beginning_break_nothing() -> None:
    watch = Watch()
    for name in ("a", "b", "c"):
        talk: list[Json] = [SYSTEM, user("Hello")]
        for turn in range(3):
            assert watch.see(*talk).broke_at is None
            talk += [answer(f"{name}{turn}"), user("ok")]


def test_common_words_of_another_conversation_break_nothing() -> None:
    watch = Watch()
    watch.see(SYSTEM, user("one"), answer("1"), user("ok"))
    imported = (SYSTEM, user("two"), answer("2"), user("ok"), answer("3"), user("go on"))
    assert watch.see(*imported).broke_at is None


def test_one_document_under_two_systems_breaks_nothing() -> None:
    watch = Watch()
    other: JsonObject = {"role": "system", "content": "Translate."}
    watch.see(SYSTEM, user(LONG, b"image"))
    assert watch.see(other, user(LONG, b"image")).broke_at is None
    assert watch.see(other, user(LONG, b"image"), answer("1"), user("Sure?")).broke_at is None


def test_examples_under_two_systems_break_nothing() -> None:
    watch = Watch()
    examples = (user(LONG), answer(LONG), user("x" + LONG), answer("y" + LONG))
    watch.see(SYSTEM, *examples, user("one"))
    other: JsonObject = {"role": "system", "content": "Translate."}
    assert watch.see(other, *examples, user("two")).broke_at is None


def test_a_system_that_tells_the_time_breaks_at_0() -> None:
    watch = Watch()
    talk: list[Json] = [user("one, with " + LONG)]
    broke: list[int | None] = []
    for turn in range(4):
        clock: JsonObject = {"role": "system", "content": f"It is {turn} o'clock."}
        broke.append(watch.see(clock, *talk).broke_at)
        talk += [answer(f"{turn}"), user(f"and {turn}?")]
    assert broke == [None, 0, 0, 0]


def test_a_sliding_window_breaks_where_it_slides() -> None:
    watch = Watch()
    talk: list[Json] = []
    broke: list[int | None] = []
    for turn in range(6):
        talk += [user(f"question {turn}")]
        broke.append(watch.see(SYSTEM, *talk[-5:]).broke_at)
        talk += [answer(f"answer {turn}")]
    assert broke == [None, None, None, 1, 1, 1]


def test_an_edit_with_what_followed_breaks_at_the_edit() -> None:
    watch = Watch()
    talk: list[Json] = [SYSTEM, user("one"), answer("1"), user("two"), answer("2"), user("three")]
    watch.see(*talk)
    talk[1] = user("one, I mean")
    outcome = watch.see(*talk, answer("3"), user("four"))
    assert outcome.broke_at == 1
    assert outcome.figures.breaks == 1
    assert outcome.figures.repeated_bytes == length(SYSTEM)


def test_an_image_taken_out_breaks_there() -> None:
    watch = Watch()
    watch.see(SYSTEM, user("one"), answer("1"), user("look", b"image"), answer("2"), user("three"))
    outcome = watch.see(
        SYSTEM,
        user("one"),
        answer("1"),
        user("look"),
        answer("2"),
        user("three"),
        answer("3"),
        user("4"),
    )
    assert outcome.broke_at is not None


def test_a_broken_prefix_is_counted_once() -> None:
    watch = Watch()
    talk: list[Json] = [SYSTEM, user("one"), answer("1"), user("two")]
    watch.see(*talk)
    changed: list[Json] = [SYSTEM, answer("a summary"), *talk[2:], answer("2"), user("three")]
    assert watch.see(*changed).broke_at == 1
    assert watch.see(*changed, answer("3"), user("four")).broke_at is None


def test_an_envelope_breaks_at_the_message_of_the_whole_conversation() -> None:
    watch = Watch()
    talk: list[Json] = [SYSTEM, user("one"), answer("1"), user("two"), answer("2"), user("three")]
    watch.see(*talk)
    kept = prompt_digests("openai.chat", talk[:3])
    watch.see(*talk[:3])
    append: list[Json] = [user("two, I mean"), *talk[4:], answer("3"), user("four")]
    body: JsonObject = {"model": "m", "coatcheck": {"parent": kept[-1], "append": append}}
    outcome = watch.see_body(body, mode="on")
    assert outcome.broke_at == 3
    assert outcome.figures.on_bytes == outcome.figures.bytes_up


def test_tenants_know_nothing_of_each_other() -> None:
    watch = Watch()
    list_ = (SYSTEM, user("one", b"image"))
    watch.see(*list_, tenant="a")
    outcome = watch.see(*list_, tenant="b")
    assert outcome.figures.repeated_bytes == 0
    assert outcome.figures.images == 1


@pytest.mark.parametrize(
    ("size", "over"), [(999_999, 0), (1_000_001, 1), (6_000_001, 2), (20_000_001, 3)]
)
def test_large_bodies_are_counted(size: int, over: int) -> None:
    figures = Watch().see(SYSTEM, up=size).figures
    assert figures.over_1_mb + figures.over_6_mb + figures.over_20_mb == over


def test_a_request_that_is_no_turn_saves_nothing() -> None:
    outcome = judge(Request("t", "u", "observe", 0, 5, 6, None), None, {}, Terms())
    assert outcome.figures == Figures(requests=1, bytes_up=5, bytes_down=6, on_bytes=5)
    assert not outcome.seen


def test_on_would_send_a_known_prefix_as_its_digest() -> None:
    watch = Watch()
    first = (SYSTEM, user("one", bytes(30_000)))
    once = watch.see(*first).figures
    again = watch.see(*first, answer("1"), user("two")).figures
    assert 30_000 < once.on_bytes < 30_700
    assert again.on_bytes < 250
    assert again.bytes_up > 40_000


def test_what_on_has_forgotten_would_be_sent_again() -> None:
    watch = Watch()
    first = (SYSTEM, user("one", bytes(30_000)))
    once = watch.see(*first).figures
    watch.now = 25 * HOUR
    later = watch.see(*first).figures
    assert later.on_bytes == once.on_bytes
    assert later.repeated_bytes == length(*first)
    watch.now += 8 * 24 * HOUR
    assert watch.see(*first).figures.repeated_bytes == 0


def test_figures_add_up() -> None:
    total = Figures(requests=1, breaks=2)
    total.add(Figures(requests=3, on_bytes=4))
    assert total == Figures(requests=4, breaks=2, on_bytes=4)


def test_a_conversation_is_counted_once_and_so_is_one_whose_prefix_breaks() -> None:
    watch = Watch()
    talk: list[Json] = [SYSTEM, user(LONG)]
    counted = Figures()
    for turn in range(4):
        counted.add(
            watch.see({"role": "system", "content": f"It is {turn} o'clock."}, *talk).figures
        )
        talk += [answer(f"{turn} {LONG}"), user(f"{turn}? {LONG}")]
    counted.add(watch.see(SYSTEM, user("another")).figures)
    assert (counted.conversations, counted.broken_conversations, counted.breaks) == (2, 1, 3)


def test_what_stood_behind_a_break_is_lost() -> None:
    watch = Watch()
    talk = [SYSTEM, user("one", b"image"), answer("1"), user(LONG)]
    watch.see(*talk)
    talk[2] = answer("edited")
    outcome = watch.see(*talk, answer("2"), user("more"))
    assert (outcome.broke_at, outcome.broke_in, outcome.prefix) == (2, "assistant", "broken")
    assert outcome.figures.lost_bytes == length(talk[2], talk[3])


def test_another_value_before_the_messages_breaks_them_all() -> None:
    watch = Watch()
    talk = [SYSTEM, user(LONG)]
    tools: Json = [{"type": "function", "function": {"name": "look"}}]
    body: JsonObject = {"model": "m", "tools": tools, "messages": [*talk]}
    assert watch.see_body(body).prefix == "new"
    talk += [answer("1"), user("two " + LONG)]
    assert watch.see_body(body | {"messages": [*talk], "temperature": 1}).prefix == "kept"
    talk += [answer("2"), user("three " + LONG)]
    outcome = watch.see_body(body | {"messages": [*talk], "tools": []})
    assert (outcome.broke_at, outcome.broke_in, outcome.prefix) == (-1, "tools", "broken")
    assert outcome.figures.lost_bytes == length(*talk[:4])
    talk += [answer("3"), user("four " + LONG)]
    other = watch.see_body(body | {"messages": [*talk], "tools": [], "model": "larger"})
    assert (other.broke_at, other.broke_in) == (-1, "model")
    assert other.figures.broken_conversations == 0  # it had been counted
    again = watch.see_body(body | {"messages": [*talk], "tools": [], "model": "fallback"})
    assert again.prefix == "kept"  # of the same list nothing is said: two models may be asked


def test_what_a_provider_counted_is_added_up() -> None:
    usage = PromptUsage(1000, 900)
    request = Request("t", "u", "observe", 0.0, 10, 10, None, usage=usage)
    figures = judge(request, None, {}, Terms()).figures
    assert (figures.prompt_tokens, figures.cached_tokens) == (1000, 900)


def test_large_values_are_repeated_and_named_with_on() -> None:
    watch = Watch()
    tools: Json = [{"type": "function", "function": {"name": "look" * 200}}]
    body: JsonObject = {"model": "m", "tools": tools, "messages": [user("one")]}
    first = watch.see_body(body).figures
    assert (first.repeated_bytes, first.on_bytes > len(encode_json(tools))) == (0, True)
    again = watch.see_body(body | {"messages": [user("another conversation")]}).figures
    assert again.repeated_bytes == len(encode_json({"tools": tools})) - 2
    assert again.on_bytes < 300
    watch.now += 25 * HOUR  # known, and kept no longer
    later = watch.see_body(body | {"messages": [user("a third")]}).figures
    assert later.repeated_bytes == again.repeated_bytes
    assert later.on_bytes > len(encode_json(tools))
