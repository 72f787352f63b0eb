"""The SDK's `PluginExecutor`, with base64 where its requests have refs."""

from __future__ import annotations

import functools
import sys

from . import splice
from .config import read_config
from .errors import HookError
from .fetch import texts
from .heap import keep_mapping
from .prompt import filled, places, unechoed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import ModuleType
    from typing import Any  # of the SDK, which is not here

__all__ = ["attach"]

_COUNTING = "get_llm_num_tokens"
_METHODS = ("invoke_llm", _COUNTING, "start_llm_polling", "start_polling")
_MARK = "resolves_coatcheck_refs"


def attach(module: ModuleType, config: str) -> None:
    """Wrap what takes prompt messages in the executor's module. May be called again.

    `config` is the path of the configuration, which is read for each request with refs.
    """
    executor = getattr(module, "PluginExecutor", None)
    found = [name for name in _METHODS if callable(getattr(executor, name, None))]
    if "invoke_llm" not in found:
        sys.stderr.write("coatcheck: no invoke_llm in this dify_plugin, so refs stay refs\n")
    for name in found:
        method = getattr(executor, name)
        if not hasattr(method, _MARK):
            setattr(executor, name, _wrapped(method, config))


def _wrapped(method: Callable[..., Any], config: str) -> Callable[..., Any]:
    """Return a method that has base64 where its request has refs. The signature stays."""

    @functools.wraps(method)
    def call(self: Any, session: Any, data: Any) -> Any:
        named = list(places(data))
        if not named:
            return method(self, session, data)
        try:
            told = read_config(config)
            if told.splice and method.__name__ == _COUNTING and _counts_text(self, data):
                return method(self, session, data)
            if told.splice:
                keep_mapping()
            got = texts(told, named)
        except HookError as error:
            raise error.as_sdks() from error
        offer = splice.Offer(got.values() if told.splice else ())
        with offer:
            answer = method(self, session, filled(data, got))
        return unechoed(_offering(answer, offer) if hasattr(answer, "send") else answer)

    setattr(call, _MARK, True)
    return call


def _counts_text(executor: Any, data: Any) -> bool:
    registration = getattr(executor, "registration", None)
    if registration is None:
        return False
    return splice.counts_text(registration.get_model_instance(data.provider, data.model_type))


def _offering(chunks: Generator[Any, None, Any], offer: splice.Offer) -> Generator[Any, None, None]:
    """Go on with a stream, whose plugin may ask its model when the first chunk is wanted."""
    try:
        while True:
            with offer:
                chunk = next(chunks, offer)
            if chunk is offer:
                return
            yield chunk
    finally:
        chunks.close()
