"""Wrapping clients of `google-genai`.

Its models write bytes as base64 before they hand a request on. In a wrapped client they find a pointer in
place of the bytes, which are at hand by their digest for as long as the call runs.

Used of it, by name: of a client `_api_client`, `_models`, `_aio` and what else is made of an API client; of
that `_http_options`, `_httpx_client`, `_async_httpx_client` and `_aiohttp_sessions`; of models
`_generate_content` and `_generate_content_stream`.
"""

import copy
from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from google.genai import Client, types
from google.genai._transformers import t_contents
from google.genai.models import AsyncModels, Models

from coatcheck.protocol import Digest, Pointer

from ..errors import InvalidArgumentError
from .clients import OFFICE, address_of, async_shell, office_of, shell
from .library import library_of
from .office import Fallback
from .sources import Sources

if TYPE_CHECKING:
    import httpx2

Contents = types.ContentListUnion | types.ContentListUnionDict

_MIN_BYTES = 1024  # less is not worth a pointer
_ORIGINAL = "_coatcheck_original"


def wrap_genai(
    client: Client, base_url: str | None, key: str | None, fallback: Fallback | None
) -> Client:
    """Return a client like this one whose turns go through Coatcheck; see `wrap`.

    The original stays alive with the copy, since it closes its connections when it goes.
    """
    if client.vertexai:
        raise InvalidArgumentError("this client is not wrapped: it speaks to a cloud's own API")
    old: object = vars(client)["_api_client"]
    sender = cast("httpx2.Client", vars(old)["_httpx_client"])
    async_sender = cast("httpx2.AsyncClient", vars(old)["_async_httpx_client"])
    options = cast("types.HttpOptions", vars(old)["_http_options"])
    if OFFICE in vars(sender):
        raise InvalidArgumentError("this client is wrapped already")
    library = library_of(sender)
    base = library.url(options.base_url or "")
    office = office_of(library, address_of(library, base, base_url, ""), key, fallback)
    senders = {
        "httpx_client": shell(office, sender),
        "httpx_async_client": async_shell(office, async_sender),
    }
    api = copy.copy(old)
    vars(api).update(
        {
            _ORIGINAL: client,
            "_http_options": options.model_copy(update=senders),
            "_httpx_client": senders["httpx_client"],
            "_async_httpx_client": senders["httpx_async_client"],
            "_aiohttp_sessions": {},
        }
    )
    return _of_api(client, old, api, office.sources)


def _of_api(client: Client, old: object, api: Any, sources: Sources) -> Client:
    """Return a client like this one, made of another API client."""
    copied = copy.copy(client)
    for name, value in vars(client).items():
        if value is old:
            vars(copied)[name] = api
        elif getattr(value, "_api_client", None) is old:
            vars(copied)[name] = type(value)(api)
        elif name == "_nextgen_client_instance":
            vars(copied)[name] = None
    vars(copied)["_models"] = _Models(api, sources)
    vars(vars(copied)["_aio"])["_models"] = _AsyncModels(api, sources)
    return copied


class _Models(Models):
    def __init__(self, api_client: Any, sources: Sources) -> None:
        super().__init__(api_client)
        self._sources = sources

    def _generate_content(
        self,
        *,
        model: str,
        contents: Contents,
        config: types.GenerateContentConfigOrDict | None = None,
    ) -> types.GenerateContentResponse:
        with _light(contents, self._sources) as light:
            return super()._generate_content(model=model, contents=light, config=config)

    def _generate_content_stream(
        self,
        *,
        model: str,
        contents: Contents,
        config: types.GenerateContentConfigOrDict | None = None,
    ) -> Iterator[types.GenerateContentResponse]:
        with _light(contents, self._sources) as light:
            yield from super()._generate_content_stream(model=model, contents=light, config=config)

    def count_tokens(
        self,
        *,
        model: str,
        contents: Contents,
        config: types.CountTokensConfigOrDict | None = None,
    ) -> types.CountTokensResponse:
        with _light(contents, self._sources) as light:
            return super().count_tokens(model=model, contents=light, config=config)


class _AsyncModels(AsyncModels):
    def __init__(self, api_client: Any, sources: Sources) -> None:
        super().__init__(api_client)
        self._sources = sources

    async def _generate_content(
        self,
        *,
        model: str,
        contents: Contents,
        config: types.GenerateContentConfigOrDict | None = None,
    ) -> types.GenerateContentResponse:
        with _light(contents, self._sources) as light:
            return await super()._generate_content(model=model, contents=light, config=config)

    async def _generate_content_stream(
        self,
        *,
        model: str,
        contents: Contents,
        config: types.GenerateContentConfigOrDict | None = None,
    ) -> Awaitable[AsyncIterator[types.GenerateContentResponse]]:
        # The request is sent here; what comes back needs no bytes any more.
        with _light(contents, self._sources) as light:
            return await super()._generate_content_stream(
                model=model, contents=light, config=config
            )

    async def count_tokens(
        self,
        *,
        model: str,
        contents: Contents,
        config: types.CountTokensConfigOrDict | None = None,
    ) -> types.CountTokensResponse:
        with _light(contents, self._sources) as light:
            return await super().count_tokens(model=model, contents=light, config=config)


@contextmanager
def _light(contents: Contents, sources: Sources) -> Generator[Contents]:
    """Give contents with pointers in place of bytes, which are at hand within."""
    held: dict[Digest, bytes] = {}
    try:
        listed = t_contents(contents)
    except (TypeError, ValueError):
        yield contents  # the SDK says what is wrong
        return
    light = [_lighter(content, held, sources) for content in listed]
    with sources.holding(held):
        yield light if held else contents


def _lighter(content: types.Content, held: dict[Digest, bytes], sources: Sources) -> types.Content:
    """Return a content with pointers; itself where it has no bytes."""
    if not isinstance(content, types.Content) or (parts := content.parts) is None:  # pyright: ignore[reportUnnecessaryIsInstance] - it may be a look-alike
        return content
    lighter = [_lighter_part(part, held, sources) for part in parts]
    if all(one is other for one, other in zip(parts, lighter, strict=True)):
        return content
    return content.model_copy(update={"parts": lighter})


def _lighter_part(part: types.Part, held: dict[Digest, bytes], sources: Sources) -> types.Part:
    blob = part.inline_data
    if blob is None or (data := blob.data) is None or len(data) < _MIN_BYTES:
        return part
    digest = sources.digest_of(data)
    held[digest] = data
    pointer = str(Pointer(digest, len(data))).encode()
    return part.model_copy(update={"inline_data": blob.model_copy(update={"data": pointer})})
