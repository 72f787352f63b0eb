"""Uses every public signature for SDKs; only type checkers read it, nothing runs it."""

from typing import assert_type

import anthropic
import httpx
import httpx2
import openai
from google import genai

from coatcheck.client import Fallback, async_http_client, http_client, wrap

ORIGIN = "http://127.0.0.1:8420"
DIRECT: Fallback = "direct"


def wrapped() -> None:
    assert_type(wrap(openai.OpenAI()), openai.OpenAI)
    assert_type(wrap(openai.AsyncOpenAI(), base_url=ORIGIN), openai.AsyncOpenAI)
    assert_type(wrap(anthropic.Anthropic(), base_url=ORIGIN, key="cck_key"), anthropic.Anthropic)
    ai = wrap(anthropic.AsyncAnthropic(), base_url=ORIGIN, key=None, fallback=DIRECT)
    assert_type(ai, anthropic.AsyncAnthropic)
    assert_type(wrap(genai.Client()), genai.Client)


def transports() -> None:
    assert_type(http_client(ORIGIN), httpx2.Client)
    assert_type(http_client(ORIGIN, "cck_key", "httpx2"), httpx2.Client)
    assert_type(http_client(ORIGIN, library="httpx", fallback="direct"), httpx.Client)
    assert_type(async_http_client(base_url=ORIGIN, key=None), httpx2.AsyncClient)
    assert_type(async_http_client(ORIGIN, "cck_key", library="httpx"), httpx.AsyncClient)
    openai.OpenAI(http_client=http_client(ORIGIN))
    anthropic.AsyncAnthropic(http_client=async_http_client(ORIGIN))
    genai.Client(http_options=genai.types.HttpOptions(httpx_client=http_client(ORIGIN)))
