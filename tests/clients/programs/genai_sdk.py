"""The `google-genai` package."""

import base64
import io
from functools import cache
from typing import Any

import cells
from google import genai
from google.genai import types


@cache
def client(url: str, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))


@cache
def file_uri(cell: cells.Cell) -> str:
    name, data, media_type = cell.upload
    config = types.UploadFileConfig(mime_type=media_type, display_name=name)
    return client(cell.url, cell.key).files.upload(file=io.BytesIO(data), config=config).uri or ""


def part(cell: cells.Cell) -> types.Part:
    picture = cell.picture
    match picture.kind:
        case "file":
            return types.Part.from_uri(file_uri=file_uri(cell), mime_type="image/png")
        case "ref":
            return types.Part.from_uri(file_uri=picture.text, mime_type="image/png")
        case _:
            data = base64.b64decode(picture.text)
            return types.Part.from_bytes(data=data, mime_type="image/png")


def ask(cell: cells.Cell) -> str:
    asked: Any = [types.Content(role="user", parts=[types.Part(text="What?"), part(cell)])]
    models = client(cell.url, cell.key).models
    if not cell.is_streamed:
        return models.generate_content(model=cell.model, contents=asked).text or ""
    stream = models.generate_content_stream(model=cell.model, contents=asked)
    return "".join(chunk.text or "" for chunk in stream)


if __name__ == "__main__":
    cells.run(ask)
