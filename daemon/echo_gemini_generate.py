"""Echo's voice in `gemini.generate`.

With `IMAGE` among `responseModalities` it paints an image. Source: the `google-genai` package, types.py, version 3.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs

from coatcheck.protocol import (
    DIALECTS,
    Json,
    JsonObject,
    Path,
    dotted,
    encode_json,
    write_event,
)

from .echo_painting import paint
from .echo_voice import (
    EchoAnswer,
    Heard,
    Place,
    Said,
    encode_base64,
    event_stream,
    joined_texts,
    json_answer,
    require_list,
    require_object,
    require_one_of,
)
from .errors import RequestRefusedError

_ROLES = frozenset({"user", "model", "function"})
_INLINE = ("inlineData", "inline_data")
_FILE = ("fileData", "file_data")
_RESPONSE = ("functionResponse", "function_response")
_SYSTEM = ("systemInstruction", "system_instruction")
_CONFIG = ("generationConfig", "generation_config")
_MODALITIES = ("responseModalities", "response_modalities")
_KINDS = frozenset({"TEXT", "IMAGE", "AUDIO"})
_OTHERS = (
    *("text", "functionCall", "function_call", "executableCode", "executable_code"),
    *("codeExecutionResult", "code_execution_result", "toolCall", "tool_call"),
    *("toolResponse", "tool_response", "thoughtSignature", "thought_signature"),
)
_KNOWN = frozenset((*_INLINE, *_FILE, *_RESPONSE, *_OTHERS))


class GeminiGenerateVoice:
    """Hears and speaks `gemini.generate`."""

    dialect = "gemini.generate"
    takes_both_alphabets = True

    def places(self, heard: Heard) -> Sequence[Place]:
        """Check the contents; see `Voice.places`."""
        request: JsonObject = heard.body
        top: Path = ()
        for name in ("generateContentRequest", "generate_content_request"):
            if heard.path.endswith(":countTokens") and name in request:
                request, top = require_object(request[name], name), (name,)
        _paints(request)
        places = [*_system_places(request, top)]
        here = (*top, "contents")
        contents = require_list(_listed(request.get("contents")), dotted(here), "contents")
        for index, item in enumerate(contents):
            path = (*here, index)
            content = require_object(item, dotted(path))
            if content.get("role") is not None:
                require_one_of(content["role"], _ROLES, dotted((*path, "role")))
            places += _parts(content.get("parts"), (*path, "parts"))
        return places

    def last_text(self, message: Json) -> str:
        """Return the text of a content."""
        return joined_texts(_listed(require_object(message, "contents").get("parts")))

    def answer(self, heard: Heard, said: Said) -> EchoAnswer:
        """Return an answer, its events or their list, or the count of tokens."""
        if heard.path.endswith(":countTokens"):
            return json_answer(200, {"totalTokens": said.heard_tokens})
        model = DIALECTS[self.dialect].provider.model_of(heard.path)
        painted = [_painted(said)] if _paints(heard.body) else []
        if not heard.path.endswith(":streamGenerateContent"):
            return json_answer(200, _chunk(model, said, [_text(said.text), *painted]))
        parts = [*map(_text, said.words), *painted]
        *some, last = [[part] for part in parts]
        chunks = [_chunk(model, said, each, is_last=False) for each in some]
        chunks.append(_chunk(model, said, last))
        if parse_qs(heard.query).get("alt") != ["sse"]:
            return json_answer(200, [*chunks])
        return event_stream([write_event(encode_json(chunk).decode()) for chunk in chunks])


def _system_places(request: JsonObject, path: Path) -> Iterator[Place]:
    for key in _SYSTEM:
        instruction = request.get(key)
        if isinstance(instruction, dict) and "parts" in instruction:
            yield from _parts(instruction["parts"], (*path, key, "parts"))


def _listed(value: Json) -> Json:
    """Return a repeated field's list: one object may stand in its place."""
    return [value] if isinstance(value, dict) else value


def _parts(value: Json, path: Path) -> Iterator[Place]:
    for at, item in enumerate(require_list(_listed(value), dotted(path), "parts")):
        here = (*path, at)
        part = require_object(item, dotted(here))
        if not _KNOWN & part.keys():
            raise RequestRefusedError("the part has no data", "invalid_request", dotted(here))
        for key in _INLINE:
            if key in part:
                yield _inline(part[key], (*here, key))
        for key in _FILE:
            if key in part:
                yield Place((*here, key), is_image=False, file_id=_name(part[key]))
        for key in _RESPONSE:
            response = part.get(key)
            if isinstance(response, dict) and "parts" in response:
                yield from _parts(response["parts"], (*here, key, "parts"))


def _inline(value: Json, path: Path) -> Place:
    inline = require_object(value, dotted(path))
    media_type = inline.get("mimeType", inline.get("mime_type"))
    if not isinstance(media_type, str) or "/" not in media_type:
        raise RequestRefusedError("a MIME type is required", "invalid_value", dotted(path))
    return Place(path, media_type.startswith("image/"))


def _name(value: Json) -> str | None:
    file = value if isinstance(value, dict) else {}
    uri = file.get("fileUri", file.get("file_uri"))
    is_named = isinstance(uri, str) and "files/" in uri
    return uri if is_named and isinstance(uri, str) else None


def _paints(request: JsonObject) -> bool:
    """Say whether an image is wanted.

    Raises:
        RequestRefusedError: what is wanted is not known.
    """
    for key in _CONFIG:
        config = request.get(key)
        for name in _MODALITIES if isinstance(config, dict) else ():
            wanted = config.get(name) if isinstance(config, dict) else None
            path = f"{key}.{name}"
            if wanted is not None:
                kinds = require_list(wanted, path, "modalities")
                return "IMAGE" in [require_one_of(kind, _KINDS, path) for kind in kinds]
    return False


def _text(text: str) -> JsonObject:
    return {"text": text}


def _painted(said: Said) -> JsonObject:
    return {"inlineData": {"mimeType": "image/png", "data": encode_base64(paint(said.text))}}


def _chunk(
    model: str | None, said: Said, parts: Sequence[JsonObject], *, is_last: bool = True
) -> JsonObject:
    candidate: JsonObject = {
        "content": {"parts": [*parts], "role": "model"},
        "index": 0,
    }
    if is_last:
        candidate["finishReason"] = "STOP"
    spoken = len(said.words)
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": said.heard_tokens,
            "candidatesTokenCount": spoken,
            "totalTokenCount": said.heard_tokens + spoken,
        },
        "modelVersion": model,
        "responseId": said.id,
    }
