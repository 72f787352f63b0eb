"""A cell's verdict can be any: what a program tells is held against what the relay saw."""

import pytest

from .relay import Passed
from .roster import CLIENTS
from .trial import DIGEST, Trial, Verdict, judge

SAID = f"PNG 1x1, {DIGEST}"
ASKED = Trial(CLIENTS[0], "openai.chat", False, "ref")
FAULT = Trial(CLIENTS[0], "openai.chat", True, "blob_not_found")
GOOD = Passed("/v1/chat/completions", f'"blob:{DIGEST}"', 200, "application/json")


@pytest.mark.parametrize(
    ("told", "seen", "verdict"),
    [
        ({"said": SAID}, [GOOD], "works"),
        ({"said": "PNG 1x1"}, [GOOD], "failed"),
        ({"said": SAID}, [GOOD, GOOD], "failed"),
        ({"said": SAID}, [Passed("", GOOD.body, 200, "text/event-stream")], "failed"),
        ({"said": SAID}, [], "failed"),
        ({"said": SAID}, [Passed("", "another body", 200, "application/json")], "altered"),
        ({"raised": "openai.Error"}, [GOOD], "failed"),
        ({"raised": "openai.Error"}, [], "refused"),
        ({"inexpressible": "no place"}, [], "inexpressible"),
    ],
)
def test_of_a_form(told: dict[str, object], seen: list[Passed], verdict: Verdict) -> None:
    assert judge(ASKED, told, seen).verdict == verdict


@pytest.mark.parametrize(
    ("statuses", "status", "verdict"),
    [([404], 404, "works"), ([404], None, "failed"), ([404, 404], 404, "failed")],
)
def test_of_a_fault(statuses: list[int], status: int | None, verdict: Verdict) -> None:
    seen = [Passed("", FAULT.handed("")[1], each, "") for each in statuses]
    told = {"raised": "openai.NotFoundError", "status": status}
    assert judge(FAULT, told, seen).verdict == verdict
