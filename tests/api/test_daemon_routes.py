"""The routes that daemons ask: what a tenant holds, and prompts, their digests made again."""

from aiohttp import ClientSession

from coatcheck.protocol import (
    MAX_DIGESTS,
    MAX_PROMPT_BLOBS,
    MAX_PROMPT_MESSAGES,
    Digest,
    Json,
    encode_json,
    prompt_digests,
    prompt_root,
)

CHAT = "openai.chat"
MESSAGES: list[Json] = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": 'two "quoted" \\'},
    {"role": "user", "content": "three\u00e9"},
]
TEXTS = [encode_json(message).decode() for message in MESSAGES]
DIGESTS = prompt_digests(CHAT, MESSAGES)


def appended(start: int = 0, stop: int = 3, **changes: Json) -> dict[str, Json]:
    parent = DIGESTS[start - 1] if start else prompt_root(CHAT)
    messages: list[Json] = [
        {"digest": DIGESTS[index], "text": TEXTS[index], "blobs": []}
        for index in range(start, stop)
    ]
    return {"dialect": CHAT, "parent": parent, "messages": messages} | changes


async def put(http: ClientSession, url: str, digest: Digest, body: Json) -> tuple[int, Json]:
    async with http.put(f"{url}/v1/prompts/{digest}", json=body) as answer:
        text = await answer.read()
        return answer.status, (await answer.json())["code"] if text else None


async def expand(http: ClientSession, url: str, digest: Digest, dialect: str = CHAT) -> Json:
    async with http.get(f"{url}/v1/prompts/{digest}", params={"dialect": dialect}) as answer:
        told = await answer.json(content_type=None)
        return told["messages"] if answer.status == 200 else (answer.status, told["code"])


async def test_resolve_tells_held_and_missing_in_one_answer(url: str, http: ClientSession) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(20)
    headers = {"Content-Type": "image/x-odd"}
    async with http.post(f"{url}/v1/blobs", data=png, headers=headers) as answer:
        assert answer.status == 201
    held, unknown = Digest.of(png), Digest.of(b"unknown")
    body = {"digests": [unknown, held, held], "file_ids": ["file-cc" + "a" * 24]}
    async with http.post(f"{url}/v1/resolve", json=body) as answer:
        assert answer.status == 200
        told = await answer.json()
    [blob] = told["blobs"]
    assert (blob["digest"], blob["size"]) == (held, len(png))
    assert (blob["media_type"], blob["sniffed_type"]) == ("image/x-odd", "image/png")
    assert told["missing"] == [{"digest": unknown}, {"file_id": "file-cc" + "a" * 24}]


async def test_resolve_names_the_digest_that_is_none(url: str, http: ClientSession) -> None:
    body = {"digests": [Digest.of(b"x"), "sha256:AB"]}
    async with http.post(f"{url}/v1/resolve", json=body) as answer:
        told = await answer.json(content_type=None)
        assert (answer.status, told["code"], told["path"]) == (400, "digest_invalid", "digests.1")


async def test_a_prompt_comes_back_as_it_was_appended(url: str, http: ClientSession) -> None:
    assert await put(http, url, DIGESTS[1], appended(0, 2)) == (204, None)
    assert await put(http, url, DIGESTS[2], appended(2, 3)) == (204, None)
    assert await expand(http, url, DIGESTS[2]) == TEXTS
    assert await expand(http, url, DIGESTS[0]) == TEXTS[:1]
    assert await put(http, url, DIGESTS[2], appended(2, 3)) == (204, None)


async def test_prompts_are_apart_by_dialect(url: str, http: ClientSession) -> None:
    await put(http, url, DIGESTS[1], appended(0, 2))
    assert await expand(http, url, DIGESTS[1], "gemini.generate") == (404, "prompt_not_found")
    assert await expand(http, url, Digest.of(b"none")) == (404, "prompt_not_found")


async def test_an_expand_that_names_no_dialect_is_malformed(url: str, http: ClientSession) -> None:
    for query in ("", "?dialect="):
        async with http.get(f"{url}/v1/prompts/{DIGESTS[0]}{query}") as answer:
            told = await answer.json(content_type=None)
            expected = (400, "request_malformed", "dialect")
            assert (answer.status, told["code"], told["path"]) == expected


async def test_a_digest_that_its_message_does_not_have_is_refused(
    url: str, http: ClientSession
) -> None:
    wrong: list[Json] = [{"digest": DIGESTS[0], "text": TEXTS[1]}]
    assert await put(http, url, DIGESTS[0], appended(messages=wrong)) == (422, "digest_mismatch")
    assert await put(http, url, DIGESTS[1], appended()) == (422, "digest_mismatch")
    assert await expand(http, url, DIGESTS[0]) == (404, "prompt_not_found")


async def test_what_continues_nothing_is_not_found(url: str, http: ClientSession) -> None:
    assert await put(http, url, DIGESTS[2], appended(1, 3)) == (404, "prompt_not_found")


async def refused(http: ClientSession, url: str, messages: list[Json]) -> tuple[int, str, str]:
    body = appended(messages=messages)
    async with http.put(f"{url}/v1/prompts/{DIGESTS[0]}", json=body) as answer:
        told = await answer.json(content_type=None)
        return answer.status, told["code"], told["path"]


async def test_more_messages_than_one_request_has_are_refused(
    url: str, http: ClientSession
) -> None:
    message: Json = {"digest": DIGESTS[0], "text": "1"}
    many: list[Json] = [message] * (MAX_PROMPT_MESSAGES + 1)
    assert await refused(http, url, many) == (400, "request_malformed", "messages")


async def test_more_blobs_than_one_request_names_are_refused(url: str, http: ClientSession) -> None:
    blobs: list[Json] = [Digest.of(b"x")] * MAX_DIGESTS
    message: Json = {"digest": DIGESTS[0], "text": "1", "blobs": [*blobs, Digest.of(b"y")]}
    expected = (400, "request_malformed")
    assert await refused(http, url, [message]) == (*expected, "messages.0.blobs")
    message = {"digest": DIGESTS[0], "text": "1", "blobs": blobs}
    many: list[Json] = [message] * (MAX_PROMPT_BLOBS // MAX_DIGESTS + 1)
    assert await refused(http, url, many) == (*expected, "messages")


async def test_a_text_that_is_not_json_is_refused_by_place(url: str, http: ClientSession) -> None:
    broken: list[Json] = [{"digest": DIGESTS[0], "text": "{"}]
    async with http.put(f"{url}/v1/prompts/{DIGESTS[0]}", json=appended(messages=broken)) as answer:
        told = await answer.json(content_type=None)
        expected = (400, "json_invalid", "messages.0.text")
        assert (answer.status, told["code"], told["path"]) == expected


RESPONSES = "/v1/prompts/responses"


async def named(
    http: ClientSession, url: str, response: str = "resp_1", method: str = "GET"
) -> Json:
    async with http.request(method, f"{url}{RESPONSES}/{response}") as answer:
        told: Json = await answer.json() if await answer.read() else None
        if answer.status < 300:
            return told
        assert isinstance(told, dict)
        return (answer.status, told["code"])


async def put_name(
    http: ClientSession, url: str, body: Json, response: str = "resp_1"
) -> tuple[int, Json]:
    async with http.put(f"{url}{RESPONSES}/{response}", json=body) as answer:
        text = await answer.read()
        return answer.status, (await answer.json())["code"] if text else None


async def test_the_id_of_a_response_names_a_kept_prompt_until_it_is_forgotten(
    url: str, http: ClientSession
) -> None:
    name: dict[str, Json] = {
        "dialect": CHAT,
        "prompt": DIGESTS[2],
        "answered": 1,
        "upstream": "vision",
    }
    assert await put_name(http, url, name) == (404, "prompt_not_found")
    assert await named(http, url) == (404, "response_not_found")
    assert await put(http, url, DIGESTS[2], appended()) == (204, None)
    assert await put_name(http, url, name) == (204, None)
    assert await named(http, url) == name
    assert await named(http, url, method="DELETE") is None
    assert await named(http, url, method="DELETE") == (404, "response_not_found")
    assert await named(http, url) == (404, "response_not_found")


async def test_what_cannot_be_an_id_of_a_response_is_refused(url: str, http: ClientSession) -> None:
    for response in ("a%2Fb", "a%20b", "x" * 513, "r%C3%A9sp"):
        assert await named(http, url, response) == (400, "request_malformed")
    name: dict[str, Json] = {"dialect": CHAT, "prompt": "x", "answered": 1, "upstream": "v"}
    assert (await put_name(http, url, name))[0] == 400
