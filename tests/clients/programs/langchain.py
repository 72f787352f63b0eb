"""`langchain-openai` over both dialects, and `langchain-anthropic`, with LangChain's own blocks."""

from typing import Any

import cells
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI


def model(cell: cells.Cell) -> Any:
    if cell.dialect == "anthropic.messages":
        return ChatAnthropic(model=cell.model, base_url=cell.url, api_key=cell.key, max_tokens=99)  # type: ignore[call-arg]
    return ChatOpenAI(
        model=cell.model,
        base_url=f"{cell.url}/v1",
        api_key=cell.key,
        use_responses_api=cell.dialect == "openai.responses",
    )


def block(cell: cells.Cell) -> dict[str, str]:
    picture = cell.picture
    match picture.kind:
        case "file":
            kind = "file" if cell.dialect == "openai.chat" else "image"
            return {"type": kind, "file_id": picture.text}
        case "ref":
            return {"type": "image", "url": picture.text, "mime_type": "image/png"}
        case _:
            return {"type": "image", "base64": picture.text, "mime_type": "image/png"}


def ask(cell: cells.Cell) -> str:
    message = HumanMessage(content=[{"type": "text", "text": "What?"}, block(cell)])
    chat = model(cell)
    if not cell.is_streamed:
        return str(chat.invoke([message]).text)
    return "".join(str(chunk.text) for chunk in chat.stream([message]))


if __name__ == "__main__":
    cells.run(ask)
