"""Every place where a dialect has attachments, for tables that try something in each of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from coatcheck.protocol import Json, JsonObject

Spelled = Literal["url", "base64", "either", "link"]
"""What a client writes there: a data URL, base64 alone, either, or a URL that has to be fetched."""


@dataclass(frozen=True)
class Position:
    """One place.

    `body` makes a request of the value that stands there; `holder` of one that stands in place of
    the object around it, where there is one.
    """

    dialect: str
    about: str
    spelled: Spelled
    path: str
    body: Callable[[Json], JsonObject]
    holder: Callable[[Json], JsonObject] | None = None
    media_type: str = "image/png"

    def __str__(self) -> str:
        return f"{self.dialect}: {self.about}"


def every_position() -> Sequence[Position]:
    """Return the places of all dialects."""
    return [*_chat(), *_responses(), *_anthropic(), *_gemini(), *_dify()]


def _chat() -> Iterator[Position]:
    def body(content: Json, role: str = "user", **more: Json) -> JsonObject:
        return {"model": "m", "messages": [{"role": role, "content": content, **more}]}

    def position(
        about: str,
        spelled: Spelled,
        part: Callable[[Json], Json],
        holder: Callable[[Json], Json] | None = None,
        media_type: str = "image/png",
        ask: Callable[[Json], JsonObject] = lambda part: body([part]),
    ) -> Position:
        path = "/v1/chat/completions"

        def whole(value: Json) -> JsonObject:
            return ask(part(value))

        def around(value: Json) -> JsonObject:
            return ask(holder(value) if holder else value)

        given = around if holder else None
        return Position("openai.chat", about, spelled, path, whole, given, media_type)

    def image(url: Json) -> Json:
        return {"type": "image_url", "image_url": url}

    def audio(value: Json) -> Json:
        return {"type": "input_audio", "input_audio": value}

    def file(value: Json) -> Json:
        return {"type": "file", "file": value}

    def tool(part: Json) -> JsonObject:
        return body([part], "tool", tool_call_id="c")

    def answer(part: Json) -> JsonObject:
        return body("Here.", "assistant", images=[part])

    yield position("image", "url", lambda v: image({"url": v, "detail": "low"}), image)
    yield position("image in a tool's result", "url", lambda v: image({"url": v}), image, ask=tool)
    yield position("image as a string", "url", image)
    yield position("image of an answer", "url", lambda v: image({"url": v}), image, ask=answer)
    yield position(
        "audio", "base64", lambda v: audio({"data": v, "format": "wav"}), audio, "audio/wav"
    )
    yield position(
        "file", "either", lambda v: file({"filename": "f", "file_data": v}), file, "application/pdf"
    )


def _responses() -> Iterator[Position]:
    def body(*items: Json, **fields: Json) -> JsonObject:
        return {"model": "m", "input": [*items], **fields}

    def user(part: Json) -> JsonObject:
        return body({"role": "user", "content": [part]})

    def position(
        about: str,
        spelled: Spelled,
        ask: Callable[[Json], JsonObject],
        holder: Callable[[Json], JsonObject] | None = None,
        media_type: str = "image/png",
    ) -> Position:
        return Position(
            "openai.responses", about, spelled, "/v1/responses", ask, holder, media_type
        )

    def image(url: Json) -> Json:
        return {"type": "input_image", "image_url": url, "detail": "auto"}

    def output(value: Json, kind: str = "function_call_output") -> JsonObject:
        return body({"type": kind, "call_id": "c", "output": value})

    def screenshot(url: Json) -> Json:
        return {"type": "computer_screenshot", "image_url": url}

    def file(key: str) -> Callable[[Json], JsonObject]:
        return lambda v: user({"type": "input_file", "filename": "f", key: v})

    def audio(value: Json) -> JsonObject:
        return user({"type": "input_audio", "input_audio": value})

    def ran(value: Json) -> JsonObject:
        return body({"type": "code_interpreter_call", "id": "i", "outputs": [value]})

    yield position("image", "url", lambda v: user(image(v)), user)
    yield position("image in a tool's output", "url", lambda v: output([image(v)]), output)
    yield position(
        "image in a custom tool's output",
        "url",
        lambda v: output([image(v)], "custom_tool_call_output"),
    )
    yield position(
        "screenshot", "url", lambda v: output(screenshot(v), "computer_call_output"), output
    )
    yield position("file", "either", file("file_data"), media_type="application/pdf")
    yield position("file by URL", "link", file("file_url"), media_type="application/pdf")
    yield position(
        "audio", "base64", lambda v: audio({"data": v, "format": "wav"}), audio, "audio/wav"
    )
    yield position(
        "generated image",
        "base64",
        lambda v: body({"type": "image_generation_call", "id": "i", "result": v}),
    )
    yield position("output of code", "url", lambda v: ran({"type": "image", "url": v}))
    yield position(
        "variable of a stored prompt",
        "url",
        lambda v: body(
            {"role": "user", "content": "x"}, prompt={"id": "p", "variables": {"a": image(v)}}
        ),
    )
    yield position(
        "mask of a tool",
        "url",
        lambda v: body(
            {"role": "user", "content": "x"},
            tools=[{"type": "image_generation", "input_image_mask": {"image_url": v}}],
        ),
    )


def _anthropic() -> Iterator[Position]:
    def body(*blocks: Json) -> JsonObject:
        messages: Json = [{"role": "user", "content": [*blocks]}]
        return {"model": "m", "max_tokens": 9, "messages": messages}

    def source(value: Json, media_type: str = "image/png") -> Json:
        return {"type": "base64", "media_type": media_type, "data": value}

    def block(source: Json, kind: str = "image") -> Json:
        return {"type": kind, "source": source, "cache_control": {"type": "ephemeral"}}

    def result(value: Json) -> Json:
        return {"type": "tool_result", "tool_use_id": "t", "content": value}

    def nested(value: Json) -> JsonObject:
        return body(block({"type": "content", "content": value}, "document"))

    def position(
        about: str,
        spelled: Spelled,
        ask: Callable[[Json], JsonObject],
        holder: Callable[[Json], JsonObject] | None = None,
        media_type: str = "image/png",
    ) -> Position:
        return Position(
            "anthropic.messages", about, spelled, "/v1/messages", ask, holder, media_type
        )

    pdf = "application/pdf"
    yield position("image", "base64", lambda v: body(block(source(v))), lambda v: body(block(v)))
    yield position(
        "document",
        "base64",
        lambda v: body(block(source(v, pdf), "document")),
        lambda v: body(block(v, "document")),
        pdf,
    )
    yield position(
        "image by URL",
        "link",
        lambda v: body(block({"type": "url", "url": v})),
    )
    yield position(
        "image in a tool's result",
        "base64",
        lambda v: body(result([block(source(v))])),
        lambda v: body(result([block(v)])),
    )
    yield position(
        "single block in a tool's result", "base64", lambda v: body(result(block(source(v))))
    )
    yield position(
        "image in a document",
        "base64",
        lambda v: nested([block(source(v))]),
        lambda v: nested([block(v)]),
    )
    yield position(
        "block among system messages",
        "base64",
        lambda v: {
            **body(),
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "system", "content": [block(source(v))]},
            ],
        },
    )


def _gemini() -> Iterator[Position]:
    def body(*parts: Json, **fields: Json) -> JsonObject:
        return {"contents": [{"role": "user", "parts": [*parts]}], **fields}

    def position(
        about: str,
        spelled: Spelled,
        ask: Callable[[Json], JsonObject],
        holder: Callable[[Json], JsonObject] | None = None,
        media_type: str = "image/png",
        path: str = "/v1beta/models/m:generateContent",
    ) -> Position:
        return Position("gemini.generate", about, spelled, path, ask, holder, media_type)

    def inline(value: Json, media_type: str = "image/png") -> Json:
        return {"inlineData": {"mimeType": media_type, "data": value}}

    def answer(*parts: Json) -> Json:
        return {"functionResponse": {"name": "f", "response": {}, "parts": [*parts]}}

    def counted(*parts: Json) -> JsonObject:
        return {"generateContentRequest": {"model": "models/m", **body(*parts)}}

    yield position("image", "base64", lambda v: body(inline(v)), lambda v: body({"inlineData": v}))
    yield position(
        "image in snake case",
        "base64",
        lambda v: body({"inline_data": {"mime_type": "image/png", "data": v}}),
        lambda v: body({"inline_data": v}),
    )
    yield position("audio", "base64", lambda v: body(inline(v, "audio/wav")), None, "audio/wav")
    yield position(
        "document",
        "base64",
        lambda v: body(inline(v, "application/pdf")),
        None,
        "application/pdf",
    )
    yield position(
        "file by URI",
        "link",
        lambda v: body({"fileData": {"mimeType": "image/png", "fileUri": v}}),
        lambda v: body({"fileData": v}),
    )
    yield position(
        "image in a function's response",
        "base64",
        lambda v: body(answer(inline(v))),
        lambda v: body(answer({"inlineData": v})),
    )
    yield position(
        "system instruction",
        "base64",
        lambda v: body({"text": "x"}, systemInstruction={"parts": [inline(v)]}),
        lambda v: body({"text": "x"}, systemInstruction={"parts": [{"inlineData": v}]}),
    )
    yield position(
        "request whose tokens are counted",
        "base64",
        lambda v: counted(inline(v)),
        lambda v: counted({"inlineData": v}),
        path="/v1beta/models/m:countTokens",
    )


def _dify() -> Iterator[Position]:
    def body(content: Json, role: str = "user", **more: Json) -> JsonObject:
        message: JsonObject = {"role": role, "name": None, "content": content, **more}
        data: JsonObject = {"provider": "p", "model": "m", "prompt_messages": [message]}
        return {"user_id": "u", "data": data}

    def item(kind: str = "image", media_type: str = "image/png", **fields: Json) -> JsonObject:
        shown: JsonObject = {"type": kind, "format": media_type.partition("/")[2]}
        return {**shown, "base64_data": "", "url": "", "mime_type": media_type, **fields}

    def position(
        about: str,
        spelled: Spelled,
        part: Callable[[Json], Json],
        media_type: str = "image/png",
        ask: Callable[[Json], JsonObject] = lambda part: body([part]),
        path: str = "/plugin/t/dispatch/llm/invoke",
    ) -> Position:
        return Position("dify.llm", about, spelled, path, lambda v: ask(part(v)), ask, media_type)

    def of(kind: str, media_type: str) -> Callable[[Json], Json]:
        return lambda v: item(kind, media_type, base64_data=v)

    def tool(part: Json) -> JsonObject:
        return body([part], "tool", tool_call_id="c")

    yield position("image", "base64", of("image", "image/png"))
    yield position("image by URL", "link", lambda v: item(url=v))
    yield position("image in a tool's result", "base64", of("image", "image/png"), ask=tool)
    yield position("audio", "base64", of("audio", "audio/wav"), "audio/wav")
    yield position("video", "base64", of("video", "video/mp4"), "video/mp4")
    yield position(
        "document",
        "base64",
        of("document", "application/pdf"),
        "application/pdf",
        path="/v2/invoke/dispatch/llm/num_tokens",
    )
