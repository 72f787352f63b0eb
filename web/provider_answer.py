"""Which provider's clients a request comes from, and how these are told no."""

from collections.abc import Mapping

from aiohttp import web

from coatcheck.protocol import Problem, Provider, encode_json, meant_provider

from .errors import NO_HEADERS
from .problems import retry_headers


def provider_of(request: web.Request) -> Provider:
    """Return the provider that a request means."""
    return meant_provider(request.path, request.rel_url.raw_query_string, request.headers)


def provider_refusal(
    provider: Provider, problem: Problem, headers: Mapping[str, str] = NO_HEADERS
) -> web.Response:
    """Return an error answer in the provider's own shape; `headers` are added."""
    return web.Response(
        status=problem.status,
        body=encode_json(provider.error(problem)),
        headers={"Content-Type": "application/json", **retry_headers(problem), **headers},
    )
