"""Which provider's clients a request comes from, and how these are told no."""

from collections.abc import Mapping

from aiohttp import web

from coatcheck.protocol import (
    EDGES_HEADER,
    GEMINI,
    UPLOAD_FINAL,
    UPLOAD_RECEIVED,
    UPLOAD_STATUS,
    Problem,
    Provider,
    encode_json,
    error_event,
    meant_provider,
)

from .errors import NO_HEADERS
from .problems import retry_headers


def provider_of(request: web.Request) -> Provider:
    """Return the provider that a request means."""
    return meant_provider(request.path, request.rel_url.raw_query_string, request.headers)


def provider_refusal(
    request: web.Request,
    provider: Provider,
    problem: Problem,
    headers: Mapping[str, str] = NO_HEADERS,
) -> web.Response:
    """Return an error answer in the provider's own shape; `headers` are added."""
    kind, body = "application/json", encode_json(provider.error(problem))
    if provider.told_by(request.path) == "stream":
        kind, body = "text/event-stream", error_event(provider, problem)
    return web.Response(
        status=refusal_status(request, provider, problem.status),
        body=body,
        headers={"Content-Type": kind, **retry_headers(problem), **headers},
    )


def refusal_status(request: web.Request, provider: Provider, status: int) -> int:
    """Return the status of an error that is answered: 200 where it is not what tells clients.

    A daemon that asks is told by the status all the same.
    """
    is_told = EDGES_HEADER in request.headers or provider.told_by(request.path) == "status"
    return status if is_told else 200


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
    return provider_refusal(request, GEMINI, problem, fields)
