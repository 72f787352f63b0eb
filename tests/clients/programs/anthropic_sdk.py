"""The `anthropic` package; it runs under version 2 and under 0.75."""

from functools import cache
from typing import Any

import anthropic
import cells


@cache
def client(url: str, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key=key)


@cache
def file_id(cell: cells.Cell) -> str:
    if cell.picture.text:
        return cell.picture.text
    api: Any = client(cell.url, cell.key)
    files = api.files if hasattr(api, "files") else api.beta.files  # beta until version 1
    return str(files.upload(file=cell.upload).id)


def source(cell: cells.Cell) -> dict[str, str]:
    picture = cell.picture
    match picture.kind:
        case "file":
            return {"type": "file", "file_id": file_id(cell)}
        case "ref":
            return {"type": "url", "url": picture.text}
        case _:
            return {"type": "base64", "media_type": "image/png", "data": picture.text}


def ask(cell: cells.Cell) -> str:
    image = {"type": "image", "source": source(cell)}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
    api = client(cell.url, cell.key).messages
    if not cell.is_streamed:
        whole = api.create(model=cell.model, max_tokens=99, messages=messages)
        return "".join(block.text for block in whole.content if block.type == "text")
    with api.stream(model=cell.model, max_tokens=99, messages=messages) as stream:
        said = "".join(stream.text_stream)
        assert stream.get_final_message().stop_reason == "end_turn"
    return said


if __name__ == "__main__":
    cells.run(ask)
