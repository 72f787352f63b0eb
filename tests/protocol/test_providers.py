"""Which provider a request means, and how each says no."""

import pytest
from multidict import CIMultiDict

from coatcheck.protocol import (
    DIALECTS,
    DIFY,
    Json,
    JsonObject,
    Problem,
    UnknownDialectError,
    decode_json,
    dialect,
    encode_json,
    error_event,
    meant_provider,
    told_in_stream,
    turn_dialect,
    write_event,
)

PROBLEM = Problem(
    404, "blob_not_found", "Missing", "gone", {"path": "a.0", "missing": [{"digest": "d"}]}
)


@pytest.mark.parametrize(
    ("path", "query", "headers", "name"),
    [
        ("/v1/models", "", {}, "openai"),
        ("/v1/models", "", {"Anthropic-Version": "2023-06-01"}, "anthropic"),
        ("/v1/models", "", {"X-Goog-Api-Key": "k"}, "gemini"),
        ("/v1/models", "pageSize=3&key=k", {}, "gemini"),
        ("/v1/models", "key=", {}, "gemini"),
        ("/v1/models", "keys=1", {}, "openai"),
        ("/v1/models/ft:gpt-4o:org::id", "", {}, "openai"),
        ("/v1/models/gemini-3:generateContent", "", {}, "gemini"),
        ("/v1/models/gemini-3:streamGenerateContent", "alt=sse", {}, "gemini"),
        ("/v1/models/gemini-3:countTokens", "", {}, "gemini"),
        ("/v1/models/gemini-3:batchEmbedContents", "", {}, "gemini"),
        ("/v1beta/cachedContents", "", {}, "gemini"),
        ("/v1alpha/models", "", {}, "gemini"),
        ("/v1/messages", "beta=true", {}, "anthropic"),
        ("/v1/messages/count_tokens", "", {}, "anthropic"),
        ("/v1/messagesx", "", {}, "openai"),
        ("/v1/chat/completions", "", {"anthropic-version": "1"}, "openai"),
        ("/v1/files", "", {"anthropic-version": "1"}, "anthropic"),
        ("/v1/embeddings", "", {}, "openai"),
        ("/plugin/t/dispatch/llm/invoke", "", {"anthropic-version": "1"}, "dify"),
        ("/plugin/t/management/list", "page=1&key=k", {}, "dify"),
        ("/v2/invoke/dispatch/llm/num_tokens", "", {}, "dify"),
        ("/e/hook/path", "", {}, "dify"),
        ("/backwards-invocation/transaction", "", {}, "dify"),
        ("/health/check", "", {}, "dify"),
        ("/health/checks", "", {}, "openai"),
        ("/plugins", "", {}, "openai"),
        ("/v2/invoked", "", {}, "openai"),
    ],
)
def test_the_provider_that_a_request_means(
    path: str, query: str, headers: dict[str, str], name: str
) -> None:
    assert meant_provider(path, query, CIMultiDict(headers)).name == name


@pytest.mark.parametrize(
    ("name", "method", "path", "is_turn"),
    [
        ("openai.chat", "POST", "/v1/chat/completions", True),
        ("openai.chat", "GET", "/v1/chat/completions", False),
        ("openai.chat", "POST", "/v1/chat/completions/1", False),
        ("openai.responses", "POST", "/v1/responses", True),
        ("anthropic.messages", "POST", "/v1/messages", True),
        ("anthropic.messages", "POST", "/v1/messages/batches", False),
        ("gemini.generate", "POST", "/v1beta/models/m:generateContent", True),
        ("gemini.generate", "POST", "/v1/models/m:streamGenerateContent", True),
        ("gemini.generate", "POST", "/v1/models/m:countTokens", False),
        ("gemini.generate", "GET", "/v1/models/m", False),
        ("dify.llm", "POST", "/plugin/a-b/dispatch/llm/invoke", True),
        ("dify.llm", "POST", "/v2/invoke/dispatch/llm/invoke", True),
        ("dify.llm", "GET", "/plugin/a-b/dispatch/llm/invoke", False),
        ("dify.llm", "POST", "/plugin/a-b/dispatch/llm/num_tokens", False),
        ("dify.llm", "POST", "/plugin/a-b/dispatch/model/polling/start", False),
        ("dify.llm", "POST", "/plugin/a/b/dispatch/llm/invoke", False),
        ("dify.llm", "POST", "/plugin/a-b/dispatch/tool/invoke", False),
    ],
)
def test_the_dialect_of_a_path(name: str, method: str, path: str, is_turn: bool) -> None:
    assert turn_dialect(method, path) == (name if is_turn else None)


def test_the_paths_of_a_dialects_calls_mean_its_provider() -> None:
    for spoken in DIALECTS.values():
        for call in spoken.calls:
            path = call.path.replace("{model}", "m").replace("{tenant}", "t")
            assert meant_provider(path, "", {}).name == spoken.provider.name
    with pytest.raises(UnknownDialectError):
        dialect("openai.telepathy")


@pytest.mark.parametrize(
    ("name", "path", "model"),
    [
        ("openai.chat", "/v1/models/org/model-7", "org/model-7"),
        ("openai.chat", "/v1/models", None),
        ("anthropic.messages", "/v1/models/claude", "claude"),
        ("gemini.generate", "/v1beta/models/gemini-3:embedContent", "gemini-3"),
        ("gemini.generate", "/v1beta/models/gemini-3", "gemini-3"),
        ("gemini.generate", "/v1beta/files", None),
        ("dify.llm", "/plugin/t/dispatch/llm/invoke", None),
    ],
)
def test_the_model_that_a_path_names(name: str, path: str, model: str | None) -> None:
    assert dialect(name).provider.model_of(path) == model


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("openai.chat", ("Authorization", "Bearer k")),
        ("anthropic.messages", ("x-api-key", "k")),
        ("gemini.generate", ("x-goog-api-key", "k")),
        ("dify.llm", ("X-Api-Key", "k")),
    ],
)
def test_where_a_provider_wants_its_key(name: str, header: tuple[str, str]) -> None:
    assert dialect(name).provider.credential("k") == header


RAISED = (
    '{"args":{"code":"blob_not_found","path":"a.0","missing":[{"digest":"d"}]},'
    '"error_type":"InvokeBadRequestError","message":"gone"}'
)
SHAPES: dict[str, Json] = {
    "openai.chat": {
        "error": {
            "message": "gone",
            "type": "invalid_request_error",
            "param": "a.0",
            "code": "blob_not_found",
            "missing": [{"digest": "d"}],
        }
    },
    "anthropic.messages": {
        "type": "error",
        "error": {
            "type": "not_found_error",
            "message": "gone",
            "details": {
                "error_code": "blob_not_found",
                "path": "a.0",
                "missing": [{"digest": "d"}],
            },
        },
    },
    "gemini.generate": {
        "error": {
            "code": 404,
            "message": "gone",
            "status": "NOT_FOUND",
            "details": [{"code": "blob_not_found", "path": "a.0", "missing": [{"digest": "d"}]}],
        }
    },
    "dify.llm": {
        "code": -500,
        "message": encode_json(
            {"message": RAISED, "error_type": "PluginInvokeError", "args": None}
        ).decode(),
        "data": None,
    },
}


@pytest.mark.parametrize("name", SHAPES)
def test_an_error_has_its_providers_shape(name: str) -> None:
    provider = dialect(name).provider
    assert provider.error(PROBLEM) == SHAPES[name]
    provider.error_model.model_validate_json(encode_json(provider.error(PROBLEM)))
    event = error_event(provider, PROBLEM)
    data = event[event.index(b"data: ") :].removeprefix(b"data: ")
    assert decode_json(data) == SHAPES[name]
    assert event.startswith(b"event: error\n") == (provider.name == "anthropic")


@pytest.mark.parametrize("status", [400, 401, 403, 405, 408, 413, 415, 429, 500, 501, 502, 503])
@pytest.mark.parametrize("name", SHAPES)
def test_every_status_has_a_shape(name: str, status: int) -> None:
    provider = dialect(name).provider
    problem = Problem(status, "some_code", "Title")
    provider.error_model.model_validate_json(encode_json(provider.error(problem)))


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, "InvokeBadRequestError"),
        (401, "InvokeAuthorizationError"),
        (403, "InvokeAuthorizationError"),
        (404, "InvokeBadRequestError"),
        (413, "InvokeBadRequestError"),
        (429, "InvokeRateLimitError"),
        (500, "InvokeServerUnavailableError"),
        (502, "InvokeConnectionError"),
        (503, "InvokeServerUnavailableError"),
        (504, "InvokeConnectionError"),
    ],
)
def test_what_difys_api_raises_of_a_status(status: int, raised: str) -> None:
    answer = DIFY.error(Problem(status, "some_code", "Title"))
    said = decode_json(str(answer["message"]))
    assert isinstance(said, dict)
    inner = decode_json(str(said["message"]))
    assert inner == {"args": {"code": "some_code"}, "error_type": raised, "message": "Title"}


@pytest.mark.parametrize(
    ("path", "told_by"),
    [
        ("/plugin/t/dispatch/llm/invoke", "stream"),
        ("/plugin/t/dispatch/redirect/v1/llm/invoke", "stream"),
        ("/plugin/t/dispatch/tool/invoke", "stream"),
        ("/v2/invoke/dispatch/llm/num_tokens", "stream"),
        ("/plugin/t/dispatch/model/polling/start", "body"),
        ("/plugin/t/management/list", "status"),
        ("/plugin/dispatch/management/list", "status"),
        ("/e/dispatch/hook", "status"),
        ("/health/check", "status"),
    ],
)
def test_where_errors_are_told(path: str, told_by: str) -> None:
    assert DIFY.told_by(path) == told_by
    others = {spoken.provider.name: spoken.provider for spoken in DIALECTS.values()}
    del others["dify"]
    assert {provider.told_by(path) for provider in others.values()} == {"status"}


def test_what_a_stream_of_an_error_tells_is_read_again() -> None:
    told: JsonObject = {"code": "blob_not_found", "path": "a.0", "missing": [{"digest": "d"}]}
    assert told_in_stream(error_event(DIFY, PROBLEM)) == {**told, "message": "gone"}
    assert told_in_stream(b": heartbeat\n\n" + error_event(DIFY, PROBLEM))["code"] == told["code"]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"data: 1",
        b"data: 1\n\n",
        b"data: {\n\n",
        error_event(DIFY, PROBLEM)[:-1],
        write_event('{"code":0,"message":"success","data":{}}'),
        write_event('{"code":-500,"message":"a text","data":null}'),
        write_event('{"code":-500,"message":{"message":"{}"},"data":null}'),
        write_event('{"code":-500,"message":"{\\"message\\":\\"text\\"}","data":null}'),
        write_event('{"code":-500,"message":"{\\"message\\":\\"{}\\"}","data":null}'),
        write_event("[" * 100_000),
        b"\xff\xfe\n\n",
    ],
)
def test_what_tells_nothing_is_read_as_nothing(frame: bytes) -> None:
    assert told_in_stream(frame) == {}
