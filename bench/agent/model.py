"""A model that says what follows from all that it was sent, and from nothing else.

Its words and its tool calls are drawn from a hash of the whole request. So one that differs in a
single character, anywhere, is answered differently, and the answer stands in every later request:
a prompt that went wrong once shows in all texts after it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from .tools import TOOLS, tool_name
from .words import words

_ABOUT_THE_ANSWER = ("stream", "stream_options")
"""Fields that say how to answer; all others decide what."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call."""

    id: str
    name: str
    arguments: Mapping[str, object]

    @property
    def arguments_text(self) -> str:
        """The arguments as OpenAI's dialects write them."""
        return json.dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to one request, and the hash that it follows from."""

    fingerprint: str
    text: str
    calls: tuple[Call, ...]

    @property
    def id(self) -> str:
        """A name for the reply, the same for the same request."""
        return self.fingerprint[:24]


def fingerprint(body: Mapping[str, object]) -> str:
    """Return a hash of a request: of its values, in whatever order and spelling."""
    asked = {key: value for key, value in body.items() if key not in _ABOUT_THE_ANSWER}
    text = json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def reply_to(seen: str) -> Reply:
    """Return what the model says to the request with this fingerprint."""
    random = Random(seen)
    text = f"{words(random, random.randint(12, 60)).capitalize()}. [{seen[:16]}]"
    calls = tuple(
        _call(random, f"{seen[:20]}{number}") for number in range(random.choice([1, 1, 2]))
    )
    return Reply(seen, text, calls)


def _call(random: Random, name: str) -> Call:
    arguments = {
        "target": words(random, 4),
        "x": random.randrange(1600),
        "y": random.randrange(1000),
        "threshold": round(random.random(), 3),
        "options": {"dry_run": random.random() < 0.5, "note": words(random, 6)},
    }
    return Call(f"call_{name}", tool_name(random.randrange(TOOLS)), arguments)
