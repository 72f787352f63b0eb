"""Conversations as plain JSON, in three dialects: what is asked, and what an answer adds.

No SDK is in between, so that lists can be edited at will.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from random import Random

from bench.agent import MODEL, PATHS, Reply, whole
from PIL import Image

Value = dict[str, object]

PATH_OF = {dialect: path for path, dialect in PATHS.items()}
_SIDE = 24


def picture(seed: int) -> bytes:
    """Return a small PNG, another one for each seed."""
    noise = Random(f"picture {seed}").randbytes(_SIDE * _SIDE * 3)
    out = BytesIO()
    Image.frombytes("RGB", (_SIDE, _SIDE), noise).save(out, "PNG")
    return out.getvalue()


@dataclass
class Manuscript:
    """A conversation as its application has it."""

    dialect: str
    messages: list[Value] = field(default_factory=list[Value])
    system: str = "You see pictures."
    tools: list[Value] = field(default_factory=list[Value])
    open_calls: list[str] = field(default_factory=list[str])

    def branch(self, length: int) -> "Manuscript":
        """Return one that begins with the first messages of this one."""
        copied: list[Value] = json.loads(json.dumps(self.messages[:length]))
        return Manuscript(self.dialect, copied, self.system, list(self.tools))

    def user(self, text: str, pictures: Sequence[bytes]) -> None:
        """Append what a user says and shows; open calls are answered by it."""
        parts = [self._text(text), *map(self._image, pictures)]
        self.messages += self._said(text, parts)
        self.open_calls = []

    def _said(self, text: str, parts: list[Value]) -> Iterator[Value]:
        if self.open_calls and self.dialect == "anthropic.messages":
            results = [
                {"type": "tool_result", "tool_use_id": call, "content": parts}
                for call in self.open_calls
            ]
            yield {"role": "user", "content": results}
        elif self.open_calls and self.dialect == "openai.responses":
            for call in self.open_calls:
                yield {"type": "function_call_output", "call_id": call, "output": parts}
        else:
            for call in self.open_calls:
                yield {"role": "tool", "tool_call_id": call, "content": text}
            yield {"role": "user", "content": parts}

    def body(self, *, is_streamed: bool) -> Value:
        """Return the request of the next turn."""
        asked: Value = {"model": MODEL, "stream": is_streamed, "tools": self.tools}
        if self.dialect == "openai.chat":
            messages: list[Value] = [{"role": "system", "content": self.system}, *self.messages]
            return {**asked, "messages": messages}
        if self.dialect == "openai.responses":
            return {**asked, "instructions": self.system, "input": self.messages, "store": False}
        return {**asked, "max_tokens": 99, "system": self.system, "messages": self.messages}

    def hear(self, reply: Reply, *, is_plain: bool) -> None:
        """Append what the model said: as it came, or as an application wrote it down."""
        said: Value = json.loads(whole(self.dialect, reply))
        message = self._heard(said)
        if is_plain and self.dialect == "openai.chat":
            kept = ("role", "content", "tool_calls")
            message = [{key: item[key] for key in kept} for item in message]
        self.messages += message
        prefix = "toolu_" if self.dialect == "anthropic.messages" else "call_"
        self.open_calls = [call.id.replace("call_", prefix) for call in reply.calls]

    def _heard(self, said: Mapping[str, object]) -> list[Value]:
        if self.dialect == "openai.responses":
            output: list[Value] = json.loads(json.dumps(said["output"]))
            return output
        if self.dialect == "anthropic.messages":
            return [{"role": "assistant", "content": said["content"]}]
        (choice,) = json.loads(json.dumps(said["choices"]))
        message: Value = choice["message"]
        return [message]

    def _text(self, text: str) -> Value:
        kind = "input_text" if self.dialect == "openai.responses" else "text"
        return {"type": kind, "text": text}

    def _image(self, data: bytes) -> Value:
        text = base64.b64encode(data).decode()
        if self.dialect == "anthropic.messages":
            source = {"type": "base64", "media_type": "image/png", "data": text}
            return {"type": "image", "source": source}
        url = f"data:image/png;base64,{text}"
        if self.dialect == "openai.responses":
            return {"type": "input_image", "detail": "auto", "image_url": url}
        return {"type": "image_url", "image_url": {"url": url}}
