"""A provider of OpenAI's Responses that remembers nothing, and is strict about what it is given.

It shares no code with what is tested. A turn's last text says what to answer, word by word: `think`,
`say <text>`, `call <name>`, `custom <name>`, `paint <colour>`, `short` (incomplete), `fail`, `cut`,
`break` (a stream that ends inside its last event).
"""

import base64
import io
import json
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image

Item = dict[str, Any]


class RefusedError(Exception):
    """The provider answers 400."""

    def __init__(self, message: str, param: str, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.error = {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": param,
                "code": code,
            }
        }


@dataclass
class StrictResponses:
    """What it was asked, and what it gave. `url` is its base URL."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list[bytes])
    """Of all requests, refused ones too."""
    refused: list[str] = field(default_factory=list[str])
    paths: list[str] = field(default_factory=list[str])
    """Of what is no turn."""
    stored: set[str] = field(default_factory=set[str])
    """Ids that it has for `GET` and `DELETE`."""
    delete_status: int = 404
    _given: int = 0
    _secrets: set[str] = field(default_factory=set[str])

    @property
    def inputs(self) -> list[Any]:
        """What each request had as its input."""
        return [json.loads(body).get("input") for body in self.bodies]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        if request.method == "POST" and request.path == "/v1/responses":
            raw = await request.read()
            self.bodies.append(raw)
            try:
                body = json.loads(raw)
                words = self._check(body)
            except RefusedError as error:
                self.refused.append(str(error))
                return web.json_response(error.error, status=400)
            if body.get("stream"):
                return await self._stream(request, body, words)
            return await self._whole(request, body, words)
        self.paths.append(f"{request.method} {request.path}")
        if request.method == "POST" and request.path == "/v1/responses/input_tokens":
            body = json.loads(await request.read())
            self._check(body)
            count = len(json.dumps(body["input"]))
            return web.json_response({"object": "response.input_tokens", "input_tokens": count})
        named = request.path.removeprefix("/v1/responses/")
        if request.method == "GET" and named in self.stored:
            return web.json_response({"id": named, "object": "response"})
        status = self.delete_status if request.method == "DELETE" else 404
        return web.json_response({"error": {"message": f"no {named}", "code": None}}, status=status)

    def forget(self) -> None:
        """Give the ids again that were given before."""
        self._given = 0

    def _check(self, body: Item) -> list[str]:
        """Refuse what OpenAI would; return the words of the last text."""
        if body.get("previous_response_id") is not None:
            raise RefusedError("not found", "previous_response_id", "previous_response_not_found")
        if "previous_response_id" in body or "coatcheck" in body:
            raise RefusedError("an unknown key", "previous_response_id")
        given: Any = body.get("input")
        if isinstance(given, str) and given:
            return given.split()
        if not isinstance(given, list) or not given:
            raise RefusedError("a string or a list is required", "input")
        items: list[Item] = [*given]
        open_calls: dict[str, str] = {}
        seen: set[str] = set()
        text = ""
        for index, item in enumerate(items):
            if (named := item.get("id")) is not None:
                if named in seen:
                    raise RefusedError(f"duplicate item {named}", f"input[{index}].id")
                seen.add(named)
            text = self._check_item(item, f"input[{index}]", open_calls) or text
        if open_calls:
            raise RefusedError(f"No tool output found for {sorted(open_calls)}", "input")
        return text.split()

    def _check_item(self, item: Item, where: str, open_calls: dict[str, str]) -> str | None:
        kind = item.get("type", "message")
        if kind == "message":
            return self._check_message(item, where)
        if kind in ("function_call", "custom_tool_call"):
            open_calls[item["call_id"]] = f"{kind}_output"
        elif kind in ("function_call_output", "custom_tool_call_output"):
            if open_calls.pop(item.get("call_id", ""), None) != kind:
                raise RefusedError(f"No tool call found for {item.get('call_id')}", where)
            output = item["output"]
            parts = [{"type": "input_text", "text": output}] if isinstance(output, str) else output
            return "".join(self._check_part(part, where) for part in parts)
        elif kind == "reasoning":
            if item.get("encrypted_content") not in self._secrets:
                raise RefusedError("the encrypted content could not be verified", where)
        elif kind == "image_generation_call":
            _decode(item["result"], where)
        else:
            raise RefusedError(f"unknown item {kind}", where)
        return None

    def _check_message(self, item: Item, where: str) -> str | None:
        role: Any = item.get("role")
        content: Any = item.get("content")
        if role not in ("user", "assistant", "system", "developer"):
            raise RefusedError(f"unknown role {role}", where)
        if isinstance(content, str):
            return content if role == "user" else None
        parts: list[Item] = content or []
        texts = [self._check_part(part, where) for part in parts]
        return "".join(texts) if role == "user" else None

    def _check_part(self, part: Item, where: str) -> str:
        match part["type"]:
            case "input_text":
                return str(part["text"])
            case "output_text":
                return ""
            case "input_image":
                head, comma, data = str(part["image_url"]).partition(",")
                if not comma or not head.startswith("data:image/"):
                    raise RefusedError(f"no image: {head[:60]}", where)
                _decode(data, where)
                return ""
            case other:
                raise RefusedError(f"unknown part {other}", where)

    async def _whole(
        self, request: web.Request, body: Item, words: list[str]
    ) -> web.StreamResponse:
        made = self._respond(body, words)
        if "cut" in words and request.transport is not None:
            text = json.dumps(made).encode()
            answer = web.StreamResponse(headers={"Content-Type": "application/json"})
            answer.content_length = len(text) + 1
            await answer.prepare(request)
            await answer.write(text)
            request.transport.close()
            return answer
        return web.json_response(made)

    async def _stream(
        self, request: web.Request, body: Item, words: list[str]
    ) -> web.StreamResponse:
        made = self._respond(body, words)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await answer.prepare(request)
        events = list(_events(made))
        if "cut" in words:
            events = events[:-1]
        for number, event in enumerate(events):
            event["sequence_number"] = number
            written = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            if "break" in words and number == len(events) - 1:
                written = written[: len(written) // 2]
            await answer.write(written)
        if ("cut" in words or "break" in words) and request.transport is not None:
            request.transport.close()
            return answer
        await answer.write_eof()
        return answer

    def _respond(self, body: Item, words: list[str]) -> Item:
        status = "completed"
        if "short" in words:
            status = "incomplete"
        if "fail" in words:
            status = "failed"
        output = [] if status == "failed" else self._output(words)
        return {
            "id": f"resp_{self._number():04}",
            "object": "response",
            "created_at": 1_700_000_000,
            "status": status,
            "error": {"code": "server_error", "message": "no"} if status == "failed" else None,
            "incomplete_details": {"reason": "max_output_tokens"} if "short" in words else None,
            "instructions": body.get("instructions"),
            "model": body["model"],
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": body.get("store", True),
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": body.get("tools", []),
            "usage": {
                "input_tokens": 1,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 1,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 2,
            },
        }

    def _output(self, words: list[str]) -> list[Item]:
        output: list[Item] = []
        for verb, noun in zip(words, [*words[1:], ""], strict=True):
            number = self._number()
            match verb:
                case "think":
                    secret = base64.b64encode(f"secret {number}".encode() * 40).decode()
                    self._secrets.add(secret)
                    output.append(
                        {
                            "id": f"rs_{number}",
                            "type": "reasoning",
                            "summary": [{"type": "summary_text", "text": "hm \u00e9 <"}],
                            "encrypted_content": secret,
                        }
                    )
                case "call":
                    output.append(
                        {
                            "id": f"fc_{number}",
                            "type": "function_call",
                            "status": "completed",
                            "call_id": f"call_{number}",
                            "name": noun,
                            "arguments": '{"x": 1.0,  "y": "\u00e9"}',
                        }
                    )
                case "custom":
                    output.append(
                        {
                            "id": f"ctc_{number}",
                            "type": "custom_tool_call",
                            "status": "completed",
                            "call_id": f"call_{number}",
                            "name": noun,
                            "input": "free text",
                        }
                    )
                case "paint":
                    output.append(
                        {
                            "id": f"ig_{number}",
                            "type": "image_generation_call",
                            "status": "completed",
                            "result": base64.b64encode(painted(noun)).decode(),
                        }
                    )
                case "say" | "short":
                    output.append(
                        {
                            "id": f"msg_{number}",
                            "type": "message",
                            "status": "completed" if verb == "say" else "incomplete",
                            "role": "assistant",
                            "content": [
                                {
                                    "type": "output_text",
                                    "text": f"You said {noun!r}, \u00e9.",
                                    "annotations": [],
                                    "logprobs": [],
                                }
                            ],
                        }
                    )
                case _:
                    pass
        return output

    def _number(self) -> int:
        self._given += 1
        return self._given


def painted(colour: str, size: int = 8) -> bytes:
    """Return a PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, "PNG")
    return file.getvalue()


def noisy(seed: int = 1, size: int = 200) -> bytes:
    """Return a PNG of which little can be compressed: some 120 kB."""
    file = io.BytesIO()
    pixels = random.Random(seed).randbytes(3 * size * size)
    Image.frombytes("RGB", (size, size), pixels).save(file, "PNG")
    return file.getvalue()


@asynccontextmanager
async def strict_responses() -> AsyncGenerator[StrictResponses]:
    """Serve one on loopback."""
    provider = StrictResponses()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", provider.serve)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    provider.url = f"http://{host}:{port}/v1"
    try:
        yield provider
    finally:
        await runner.cleanup()


def _events(made: Item) -> Iterator[Item]:
    """Yield the events of a streamed response."""
    begun: Item = {**made, "status": "in_progress", "output": [], "usage": None, "error": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(made["output"]):
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{made['status']}", "response": made}


def _decode(data: str, where: str) -> None:
    try:
        Image.open(io.BytesIO(base64.b64decode(data, validate=True))).verify()
    except (ValueError, OSError) as error:
        raise RefusedError(f"not an image: {error}", where) from error
