"""The `openai` package, both dialects; it runs under version 3 and under 1.109."""

from functools import cache
from typing import Any

import cells
import openai


@cache
def client(url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key)


@cache
def file_id(cell: cells.Cell) -> str:
    if cell.picture.text:
        return cell.picture.text
    files = client(cell.url, cell.key).files
    return files.create(file=cell.upload, purpose="user_data").id


def ask_chat(cell: cells.Cell) -> str:
    picture = cell.picture
    part: Any = {"type": "image_url", "image_url": {"url": picture.data_url}}
    if picture.kind == "file":
        part = {"type": "file", "file": {"file_id": file_id(cell)}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}]
    chat = client(cell.url, cell.key).chat.completions
    if not cell.is_streamed:
        whole = chat.create(model=cell.model, messages=messages)
        return whole.choices[0].message.content or ""
    stream = chat.create(model=cell.model, messages=messages, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def ask_responses(cell: cells.Cell) -> str:
    picture = cell.picture
    named = (
        {"file_id": file_id(cell)} if picture.kind == "file" else {"image_url": picture.data_url}
    )
    image = {"type": "input_image", "detail": "auto", **named}
    asked: Any = [{"role": "user", "content": [{"type": "input_text", "text": "What?"}, image]}]
    responses = client(cell.url, cell.key).responses
    if not cell.is_streamed:
        return responses.create(model=cell.model, input=asked).output_text
    with responses.stream(model=cell.model, input=asked) as stream:
        said = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == said
    return said


if __name__ == "__main__":
    cells.run(lambda cell: ask_chat(cell) if cell.dialect == "openai.chat" else ask_responses(cell))
