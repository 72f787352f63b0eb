"""`pydantic-ai` over its models for three providers."""

import asyncio
import base64
from typing import Any

import cells
from pydantic_ai import BinaryContent, ImageUrl, UploadedFile
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

PROVIDERS = {
    "openai.chat": "openai",
    "openai.responses": "openai",
    "anthropic.messages": "anthropic",
    "gemini.generate": "google",
}


def model(cell: cells.Cell) -> Any:
    match cell.dialect:
        case "openai.chat":
            provider = OpenAIProvider(base_url=f"{cell.url}/v1", api_key=cell.key)
            return OpenAIChatModel(cell.model, provider=provider)
        case "openai.responses":
            provider = OpenAIProvider(base_url=f"{cell.url}/v1", api_key=cell.key)
            return OpenAIResponsesModel(cell.model, provider=provider)
        case "anthropic.messages":
            return AnthropicModel(
                cell.model, provider=AnthropicProvider(base_url=cell.url, api_key=cell.key)
            )
        case _:
            return GoogleModel(
                cell.model, provider=GoogleProvider(base_url=cell.url, api_key=cell.key)
            )


def content(cell: cells.Cell) -> Any:
    picture = cell.picture
    match picture.kind:
        case "file":
            name = PROVIDERS[cell.dialect]
            # It takes the URI that Google's Files API gives, and that only with https.
            prefix = "https://files.example/v1beta/files/" if name == "google" else ""
            return UploadedFile(
                file_id=f"{prefix}{picture.text}", provider_name=name, media_type="image/png"
            )
        case "ref":
            return ImageUrl(url=picture.text, media_type="image/png")
        case _:
            return BinaryContent(data=base64.b64decode(picture.text), media_type="image/png")


async def answer(cell: cells.Cell) -> str:
    asked = [ModelRequest(parts=[UserPromptPart(content=["What?", content(cell)])])]
    if not cell.is_streamed:
        return str((await model_request(model(cell), asked)).text)
    async with model_request_stream(model(cell), asked) as stream:
        async for _ in stream:
            pass
        return str(stream.get().text)


if __name__ == "__main__":
    with asyncio.Runner() as runner:
        cells.run(lambda cell: runner.run(answer(cell)))
