"""An agent as people write them, with the official SDK, in Python.

It reads one JSON object with what it is, then one for each turn, a line each, and tells on a line what
came of each turn. It sends its whole conversation with every turn, images in base64, and knows
nothing of Coatcheck but, where the first line says so, how its client is made.
"""

import base64
import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import anthropic
import openai

_TYPES = {"png": "image/png", "jpg": "image/jpeg"}
_SECONDS = 120.0

Part = dict[str, Any]


class Agent:
    """A conversation in one dialect; subclasses say how that writes things."""

    client: Any

    def __init__(self, told: Part, client: Any) -> None:
        self.told = told
        self.client = client
        self.messages: list[Any] = []
        self.calls: list[Any] = []

    def user(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        """Return the messages in which a user says something."""
        raise NotImplementedError

    def results(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        """Return the messages that answer the calls of the last reply."""
        raise NotImplementedError

    def ask(self, messages: list[Any], is_streamed: bool) -> tuple[str, list[Any], list[Any]]:
        """Ask; return the text, the calls, and the messages that the reply adds."""
        raise NotImplementedError

    def take(self, turn: Part) -> Part:
        """Take one turn; where it fails, the conversation is as it was before."""
        if "keep" in turn:
            del self.messages[turn["keep"] :]
            self.calls = []
        images = [Path(name) for name in turn["images"]]
        say = self.results if self.calls else self.user
        new = say(turn["texts"], images)
        try:
            text, calls, added = self.ask([*self.messages, *new], turn["is_streamed"])
        except Exception as error:  # noqa: BLE001 - whatever an application would see
            return {"raised": _kind(error), "words": str(error)[:300]}
        self.messages += [*new, *added]
        self.calls = calls
        return {
            "text": text,
            "calls": len(calls),
            "messages": len(self.messages),
            "new_text_bytes": _text_bytes(new),
        }


class ChatAgent(Agent):
    """`openai.chat`."""

    def __init__(self, told: Part, client: Any) -> None:
        super().__init__(told, client)
        self.messages = [{"role": "system", "content": told["instructions"]}]

    def user(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        parts = [{"type": "text", "text": text} for text in texts]
        shown = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in images]
        return [{"role": "user", "content": [*parts, *shown]}]

    def results(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        told = [
            {"role": "tool", "tool_call_id": call["id"], "content": text}
            for call, text in zip(self.calls, texts, strict=False)
        ]
        return [*told, *self.user(["What the screen shows now:"], images)]

    def ask(self, messages: list[Any], is_streamed: bool) -> tuple[str, list[Any], list[Any]]:
        asked: Part = {
            "model": self.told["model"],
            "messages": messages,
            "tools": self.told["tools"],
        }
        if is_streamed:
            return self._listen(self.client.chat.completions.create(**asked, stream=True))
        choice = self.client.chat.completions.create(**asked).choices[0]
        assert choice.finish_reason == "tool_calls"
        calls = [call.model_dump() for call in choice.message.tool_calls]
        return choice.message.content, calls, [choice.message]

    def _listen(self, chunks: Any) -> tuple[str, list[Any], list[Any]]:
        text, calls, finish = "", list[Part](), None
        for chunk in chunks:
            delta = chunk.choices[0].delta
            finish = chunk.choices[0].finish_reason
            text += delta.content or ""
            pieces: list[Any] = delta.tool_calls or []
            for piece in pieces:
                if piece.index == len(calls):
                    function = {"name": piece.function.name, "arguments": ""}
                    calls.append({"id": piece.id, "type": "function", "function": function})
                calls[piece.index]["function"]["arguments"] += piece.function.arguments or ""
        if finish != "tool_calls":
            raise EOFError("the stream ended before the answer did")
        return text, calls, [{"role": "assistant", "content": text, "tool_calls": calls}]


class ResponsesAgent(Agent):
    """`openai.responses`, without any state at the provider."""

    def user(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        return [{"role": "user", "content": self._parts(texts, images)}]

    def results(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        shown = [images, *[list[Path]() for _ in self.calls]]
        return [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": self._parts([text], screens),
            }
            for call, text, screens in zip(self.calls, texts, shown, strict=False)
        ]

    def _parts(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        said = [{"type": "input_text", "text": text} for text in texts]
        shown = [
            {"type": "input_image", "detail": "auto", "image_url": _data_url(image)}
            for image in images
        ]
        return [*said, *shown]

    def ask(self, messages: list[Any], is_streamed: bool) -> tuple[str, list[Any], list[Any]]:
        asked: Part = {
            "model": self.told["model"],
            "instructions": self.told["instructions"],
            "input": messages,
            "tools": self.told["tools"],
            "store": False,
        }
        answer = self.client.responses.create(**asked, stream=is_streamed)
        if is_streamed:
            last = None
            for event in answer:
                last = event
            if last is None or last.type != "response.completed":
                raise EOFError("the stream ended before the answer did")
            answer = last.response
        calls = [item for item in answer.output if item.type == "function_call"]
        return answer.output_text, calls, list(answer.output)


class MessagesAgent(Agent):
    """`anthropic.messages`."""

    def user(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        return [{"role": "user", "content": self._parts(texts, images)}]

    def results(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        shown = [images, *[list[Path]() for _ in self.calls]]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": self._parts([text], screens)}
            for call, text, screens in zip(self.calls, texts, shown, strict=False)
        ]
        return [{"role": "user", "content": results}]

    def _parts(self, texts: Sequence[str], images: Sequence[Path]) -> list[Part]:
        said = [{"type": "text", "text": text} for text in texts]
        shown = [
            {
                "type": "image",
                "source": {"type": "base64", "media_type": _type(image), "data": _base64(image)},
            }
            for image in images
        ]
        return [*said, *shown]

    def ask(self, messages: list[Any], is_streamed: bool) -> tuple[str, list[Any], list[Any]]:
        asked: Part = {
            "model": self.told["model"],
            "max_tokens": 1000,
            "system": self.told["instructions"],
            "messages": messages,
            "tools": self.told["tools"],
        }
        if is_streamed:
            with self.client.messages.stream(**asked) as stream:
                answer = stream.get_final_message()
        else:
            answer = self.client.messages.create(**asked)
        if answer.stop_reason != "tool_use":
            raise EOFError("the stream ended before the answer did")
        text = "".join(block.text for block in answer.content if block.type == "text")
        calls = [block for block in answer.content if block.type == "tool_use"]
        return text, calls, [{"role": "assistant", "content": answer.content}]


AGENTS: dict[str, Callable[[Part, Any], Agent]] = {
    "openai.chat": ChatAgent,
    "openai.responses": ResponsesAgent,
    "anthropic.messages": MessagesAgent,
}


def make_client(told: Part) -> Any:
    """Return the SDK's client, in the way that is asked for."""
    url = told["url"]
    options: Part = {
        "api_key": told["key"],
        "max_retries": told["max_retries"],
        "timeout": _SECONDS,
    }
    is_anthropic = told["dialect"] == "anthropic.messages"
    make: Any = anthropic.Anthropic if is_anthropic else openai.OpenAI
    base_url = url if is_anthropic else f"{url}/v1"
    if told["way"] in ("wrap", "http_client"):
        coatcheck: Any = import_module("coatcheck.client")
        if told["way"] == "http_client":
            options["http_client"] = coatcheck.http_client(url)
            return make(base_url=base_url, **options)
        return coatcheck.wrap(make(base_url=base_url, **options))
    return make(base_url=base_url, **options)


def _kind(error: BaseException) -> list[str]:
    """Return the names of an error's classes, the nearest first, and its status where it has one."""
    status = getattr(error, "status_code", None)
    return [kind.__name__ for kind in type(error).__mro__[:-2]] + [str(status)] * bool(status)


def _text_bytes(messages: list[Part]) -> int:
    """Return what new messages weigh as JSON with nothing in the place of each image."""

    def lean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lean(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [lean(item) for item in value]  # pyright: ignore
        return "" if isinstance(value, str) and len(value) > 20_000 else value

    text = json.dumps(lean(messages), ensure_ascii=False, separators=(",", ":"))
    return len(text.encode())


def _type(image: Path) -> str:
    return _TYPES[image.suffix[1:]]


def _base64(image: Path) -> str:
    return base64.b64encode(image.read_bytes()).decode()


def _data_url(image: Path) -> str:
    return f"data:{_type(image)};base64,{_base64(image)}"


def main() -> None:
    """Talk until the lines end."""
    told = json.loads(sys.stdin.readline())
    agent = AGENTS[told["dialect"]](told, make_client(told))
    for line in sys.stdin:
        print(json.dumps(agent.take(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
