"""Echo decodes what it is given, describes it, and is as strict as a provider."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from coatcheck.protocol import DIFY, Digest, Json, JsonObject, told_in_stream

from .dialect_samples import BY_NAME, stream_events

Fixture = Callable[..., Any]


def ask(*parts: Json, **fields: Json) -> Any:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}], **fields}


def image(url: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


async def test_pictures_are_described(
    run_daemon: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    daemon = await run_daemon()
    red, blue = picture("red", "PNG", (30, 20)), picture("blue", "WEBP", (9, 9))
    digest = daemon.blobs.add(red)
    status, body, _ = await daemon.chat(
        ask(
            {"type": "text", "text": "What?"},
            image(f"blob:{digest}"),
            image(data_url(blue, "image/webp")),
        )
    )
    assert status == 200
    text = body["choices"][0]["message"]["content"]
    assert "'What?'. Attachments: 2." in text
    assert f"1. PNG 30x20, mean colour #ff0000, {digest}, {len(red)} bytes" in text
    assert f"2. WEBP 9x9, mean colour #0000" in text  # noqa: F541
    assert str(Digest.of(blue)) in text


async def test_a_stream_says_the_same_words(run_daemon: Fixture) -> None:
    daemon = await run_daemon()
    _, whole, _ = await daemon.chat(ask({"type": "text", "text": "Hello there"}))
    async with daemon.http.post(
        f"{daemon.url}/v1/chat/completions",
        json=ask(
            {"type": "text", "text": "Hello there"},
            stream=True,
            stream_options={"include_usage": True},
        ),
    ) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = (await response.text()).removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    said = "".join(
        choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]
    )
    assert said == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (image("https://pictures.example/a.png"), "invalid_image_url"),
        (image("data:image/png;base64,@@@@"), "invalid_base64"),
        (image("data:image/png;base64,AAAA"), "invalid_image_format"),
        (image("data:text/plain,hello"), "invalid_image_url"),
        (image("data:;base64,AAAA"), "invalid_image_format"),
        (image(""), "invalid_image_url"),
    ],
)
async def test_bad_images_are_refused(run_daemon: Fixture, part: Json, code: str) -> None:
    daemon = await run_daemon()
    status, body, _ = await daemon.chat(ask(part))
    assert (status, body["error"]["code"]) == (400, code)
    assert body["error"]["param"] == "messages.0.content.0.image_url"


async def test_a_wrong_media_type_is_refused(
    run_daemon: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    daemon = await run_daemon()
    status, body, _ = await daemon.chat(ask(image(data_url(picture(), "image/jpeg"))))
    assert (status, body["error"]["code"]) == (400, "invalid_image_format")


async def test_a_broken_picture_is_refused(
    run_daemon: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    daemon = await run_daemon()
    status, body, _ = await daemon.chat(ask(image(data_url(picture()[:40]))))
    assert (status, body["error"]["code"]) == (400, "invalid_image")


@pytest.mark.parametrize(
    ("messages", "param"),
    [([], "messages"), ([{"role": "nobody", "content": "x"}], "messages.0.role")],
)
async def test_bad_messages_are_refused(
    run_daemon: Fixture, messages: list[Json], param: str
) -> None:
    daemon = await run_daemon()
    status, body, _ = await daemon.chat({"model": "m", "messages": messages})
    assert (status, body["error"]["param"]) == (400, param)


async def test_files_and_audio_are_described_by_type(run_daemon: Fixture) -> None:
    daemon = await run_daemon()
    pdf = daemon.blobs.add(b"%PDF-1.4\n%%EOF\n")
    status, body, _ = await daemon.chat(
        ask({"type": "file", "file": {"filename": "a.pdf", "file_data": f"blob:{pdf}"}})
    )
    assert status == 200
    assert f"application/pdf, {pdf}" in body["choices"][0]["message"]["content"]


@pytest.mark.parametrize("role", [[], {}, 1, None, "wizard"])
async def test_a_role_of_any_type_is_refused_by_name(run_daemon: Fixture, role: Json) -> None:
    daemon = await run_daemon()
    status, answer, _ = await daemon.chat({"model": "m", "messages": [{"role": role}]})
    assert (status, answer["error"]["code"]) == (400, "invalid_value")
    assert answer["error"]["param"] == "messages.0.role"


SAMPLE = BY_NAME["dify.llm"]


@pytest.mark.parametrize("path", SAMPLE.paths)
async def test_difys_frames_are_those_of_its_daemon(run_daemon: Fixture, path: str) -> None:
    daemon = await run_daemon()
    async with daemon.http.post(daemon.url + path, json=SAMPLE.ask()) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        raw = await response.read()
    frames = stream_events(raw)
    assert raw.count(b"\n\n") == len(frames)
    assert all(line.startswith(b"data: ") for line in raw.splitlines() if line)
    for frame in frames:
        assert list(frame) == ["code", "message", "data"]
        assert (frame["code"], frame["message"]) == (0, "success")
    if path == SAMPLE.count_path:
        assert list(frames[0]["data"]) == ["num_tokens"]
        return
    chunks = [frame["data"] for frame in frames]
    assert {chunk["model"] for chunk in chunks} == {"m"}
    assert all(chunk["prompt_messages"] == [] for chunk in chunks)
    assert [chunk["delta"]["index"] for chunk in chunks] == list(range(len(chunks)))
    assert [chunk["delta"]["usage"] is not None for chunk in chunks[-2:]] == [False, True]
    assert chunks[-1]["delta"]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"type": "image", "url": "", "base64_data": "AAAA", "format": "png"}, "invalid_request"),
        ({"type": "picture", "url": "", "base64_data": "AAAA"}, "invalid_value"),
        ({**SAMPLE.inline(b"x"), "url": "data:image/png;base64,AAAA"}, "invalid_image_url"),  # type: ignore[dict-item]
        ({**SAMPLE.inline(b"x"), "base64_data": ""}, "invalid_image_url"),  # type: ignore[dict-item]
    ],
)
@pytest.mark.parametrize("path", SAMPLE.paths)
async def test_difys_refusals_are_a_frame(
    run_daemon: Fixture, path: str, part: JsonObject, code: str
) -> None:
    daemon = await run_daemon()
    async with daemon.http.post(daemon.url + path, json=SAMPLE.ask(part)) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        raw = await response.read()
    assert told_in_stream(raw)["code"] == code
    (frame,) = stream_events(raw)
    DIFY.error_model.model_validate(frame, strict=True)


@pytest.mark.parametrize("data", [None, [], "x", {}, {"model": 5}, {"model": None}])
async def test_a_turn_of_difys_names_its_model_within(run_daemon: Fixture, data: Json) -> None:
    daemon = await run_daemon()
    body: JsonObject = {"model": "m", "prompt_messages": [], "data": data}
    async with daemon.http.post(daemon.url + SAMPLE.path, json=body) as response:
        told = told_in_stream(await response.read())
    assert (response.status, told["code"], told["path"]) == (200, "request_malformed", "data.model")
