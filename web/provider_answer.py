"""Which provider's clients a request comes from, and how these are told no."""

from collections.abc import Mapping

from aiohttp import web

from coatcheck.protocol import (
    GEMINI,
    UPLOAD_FINAL,
    UPLOAD_RECEIVED,
    UPLOAD_STATUS,
    Problem,
    Provider,
    encode_json,
    meant_provider,
)

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


def upload_refusal(
    request: web.Request, problem: Problem, headers: Mapping[str, str]
) -> web.Response:
    """Return an error at one of Gemini's uploads.

    `final` is what makes Google's SDKs raise it: without a status they send again what they sent, and an
    upload that is said to be active they take for a success. So only what may pass has none.
    """
    fields = dict(headers)
    if not problem.retryable:
        fields[UPLOAD_STATUS] = UPLOAD_FINAL
    if isinstance(offset := problem.extensions.get("offset"), int):
        fields[UPLOAD_RECEIVED] = str(offset)
    return provider_refusal(GEMINI, problem, fields)
