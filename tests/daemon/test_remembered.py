"""What a daemon remembers of its store: for a while, bounded, never against a change."""

from coatcheck.daemon.prompt_memory import PromptMemory
from coatcheck.daemon.remembered import Remembered
from coatcheck.daemon.source import KeptMessage
from coatcheck.protocol import Digest, prompt_root

CHAT = "openai.chat"
ROOT = prompt_root(CHAT)


def message(text: str) -> KeptMessage:
    return KeptMessage(Digest.of(text.encode()), text, ())


def test_an_answer_is_believed_for_half_a_minute_or_as_long_as_is_asked() -> None:
    known: Remembered[str, int] = Remembered()
    known.put("a", 1, 100.0, known.ticket("a"))
    assert known.get("a", 130.0) == 1
    assert known.get("a", 131.0) is None
    assert known.get("a", 131.0, max_age_seconds=3600) == 1
    assert known.get("a", 99.0) is None  # the clock was set back
    assert known.get("b", 100.0) is None


def test_an_answer_from_before_a_change_is_not_remembered() -> None:
    known: Remembered[str, int] = Remembered()
    ticket = known.ticket("a")
    known.forget("a")
    known.put("a", 1, 100.0, ticket)
    assert known.get("a", 100.0) is None
    known.put("a", 2, 100.0, known.ticket("a"))
    assert known.get("a", 100.0) == 2


def test_forgetting_one_keeps_answers_of_others_on_their_way() -> None:
    known: Remembered[int, int] = Remembered()  # numbers are their own hash, so none is in its slot
    ticket = known.ticket(1)
    known.forget(2)
    known.put(1, 1, 100.0, ticket)
    assert known.get(1, 100.0) == 1


def test_the_one_asked_for_longest_ago_is_forgotten_first() -> None:
    known: Remembered[str, int] = Remembered(2)
    for number, name in enumerate("ab"):
        known.put(name, number, 0.0, known.ticket(name))
    assert known.get("a", 0.0) == 0
    known.put("c", 2, 0.0, known.ticket("c"))
    assert (len(known), known.get("b", 0.0), known.get("a", 0.0)) == (2, None, 0)


def test_a_prompt_is_put_together_from_what_passed() -> None:
    memory = PromptMemory()
    one, two, three = message("1"), message("2"), message("3")
    memory.put_messages("a", CHAT, ROOT, [one, two], 0.0)
    memory.put_messages("a", CHAT, two.digest, [three], 10.0)
    assert memory.get("a", CHAT, three.digest, 35.0) == ["1", "2", "3"]
    assert memory.get("a", CHAT, one.digest, 0.0) == ["1"]
    assert memory.get("a", CHAT, two.digest, 35.0) is None
    assert memory.get("b", CHAT, three.digest, 10.0) is None
    assert memory.get("a", "gemini.generate", three.digest, 10.0) is None


def test_a_list_without_its_beginning_is_not_known() -> None:
    memory = PromptMemory()
    memory.put_messages("a", CHAT, message("unknown").digest, [message("2")], 0.0)
    assert memory.get("a", CHAT, message("2").digest, 0.0) is None
    memory.put_list("a", CHAT, message("unknown").digest, ["0", "1"], 0.0)
    memory.put_messages("a", CHAT, message("unknown").digest, [message("2")], 0.0)
    assert memory.get("a", CHAT, message("2").digest, 0.0) == ["0", "1", "2"]


def test_branches_of_a_prompt_do_not_meet() -> None:
    memory = PromptMemory()
    one, two, three, four = map(message, "1234")
    memory.put_messages("a", CHAT, ROOT, [one, two], 0.0)
    memory.put_messages("a", CHAT, one.digest, [three], 0.0)
    memory.put_messages("a", CHAT, two.digest, [four], 0.0)
    assert memory.get("a", CHAT, three.digest, 0.0) == ["1", "3"]
    assert memory.get("a", CHAT, four.digest, 0.0) == ["1", "2", "4"]


def test_a_list_of_which_the_end_alone_is_known_goes_on_behind_it() -> None:
    memory = PromptMemory()
    one, two, three = map(message, "123")
    memory.put_list("a", CHAT, two.digest, ["1", "2"], 0.0)
    memory.put_messages("a", CHAT, ROOT, [one, two, three], 0.0)
    assert memory.get("a", CHAT, three.digest, 0.0) == ["1", "2", "3"]


def test_what_is_sent_whole_again_and_again_is_remembered_once() -> None:
    memory = PromptMemory(max_bytes=3 * 1500)
    listed = [message(f"{number}" + "x" * 1000) for number in range(3)]
    for count in (1, 2, 3, 3, 3):
        memory.put_messages("a", CHAT, ROOT, listed[:count], float(count))
        texts = [each.text for each in listed[:count]]
        memory.put_list("a", CHAT, listed[count - 1].digest, texts, float(count))
    assert memory.get("a", CHAT, listed[0].digest, 30.0) == [listed[0].text]
    assert memory.get("a", CHAT, listed[2].digest, 30.0) == [each.text for each in listed]


def test_the_conversation_used_longest_ago_is_forgotten_whole() -> None:
    memory = PromptMemory(max_bytes=4 * 1500)
    mine = [message(f"mine {number}" + "x" * 1000) for number in range(2)]
    other = [message(f"other {number}" + "x" * 1000) for number in range(2)]
    memory.put_messages("a", CHAT, ROOT, mine, 0.0)
    memory.put_messages("a", CHAT, ROOT, other, 0.0)
    assert memory.get("a", CHAT, mine[0].digest, 0.0)
    memory.put_messages("a", CHAT, mine[1].digest, [message("y" * 1000)], 0.0)
    assert memory.get("a", CHAT, mine[1].digest, 0.0)
    assert [memory.get("a", CHAT, each.digest, 0.0) for each in other] == [None, None]


def test_what_is_remembered_of_prompts_is_bounded() -> None:
    memory = PromptMemory(max_bytes=5000)
    for number in range(20):
        memory.put_messages("a", CHAT, ROOT, [message(f"{number} " + "x" * 1000)], 0.0)
    known = [
        memory.get("a", CHAT, message(f"{number} " + "x" * 1000).digest, 0.0)
        for number in range(20)
    ]
    assert [text is not None for text in known] == [False] * 17 + [True] * 3
