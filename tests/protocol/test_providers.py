"""Which provider a request means, and how each says no."""

import pytest
from multidict import CIMultiDict

from coatcheck.protocol import (
    DIALECTS,
    Json,
    Problem,
    UnknownDialectError,
    decode_json,
    dialect,
    encode_json,
    error_event,
    meant_provider,
    turn_dialect,
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
    ],
)
def test_the_dialect_of_a_path(name: str, method: str, path: str, is_turn: bool) -> None:
    assert turn_dialect(method, path) == (name if is_turn else None)


def test_the_paths_of_a_dialects_calls_mean_its_provider() -> None:
    for spoken in DIALECTS.values():
        for call in spoken.calls:
            path = call.path.replace("{model}", "m")
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
    ],
)
def test_where_a_provider_wants_its_key(name: str, header: tuple[str, str]) -> None:
    assert dialect(name).provider.credential("k") == header


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
