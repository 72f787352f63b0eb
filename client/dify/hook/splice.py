"""Images on their way from an OpenAI-compatible plugin to its model, without the SDK's copies.

The SDK's `OAICompatLargeLanguageModel._generate` makes a data URL of each image, JSON of all and bytes of
that: four times their base64. Here a stand-in of 41 signs takes the place of base64 where `_generate` makes
the data URL, and base64 that of the stand-in where `requests` sends the body.

What it keeps true:

1. Between the two there is code of the SDK and of `requests` alone. The plugin's own code has real base64
   before (`_invoke`, in most plugins' own version) and after (what reads the response). Where a plugin
   has its own `_generate` the SDK's is not called, and where it has its own
   `_convert_prompt_message_to_dict` no stand-in is made.
2. A stand-in has 128 random bits, and opens nothing but its own call's text. In a call of another thread or
   greenlet it is four words of text.
3. A stand-in is no base64, since that never has 4n + 1 signs: decoding it fails, whoever tries.
4. A call whose stand-ins have not all been sent fails before its response is read: the body went some other
   way than by `requests`.
5. The request that `requests` keeps, logs, redirects and sends again has the stand-ins; each sending splices
   anew.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from contextvars import ContextVar

from .body import SplicedBody
from .errors import HookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

__all__ = ["Offer", "counts_text"]

_MODULE = "dify_plugin.interfaces.model.openai_compatible.llm"
_CLASS = "OAICompatLargeLanguageModel"
_CONVERT = "_convert_prompt_message_to_dict"
_MARK = "splices_coatcheck_texts"
_STAND_IN = re.compile(b"Coatcheck[0-9a-f]{32}")

_offered: ContextVar[Offer | None] = ContextVar("coatcheck_offered", default=None)
_generating: ContextVar[_Call | None] = ContextVar("coatcheck_generating", default=None)


class Offer:
    """Base64 of one request, held once, which may be spliced while this is entered.

    It is entered for each step of an invocation, in whatever thread or greenlet that runs.
    """

    def __init__(self, texts: Collection[str]) -> None:
        # By identity: equal base64 from elsewhere is compared with nothing.
        self.texts = {id(text): text for text in texts}
        self.failure: HookError | None = None
        self._before: Offer | None = None
        if self.texts:
            _wrap_all()

    def __enter__(self) -> None:
        self._before = _offered.get()
        _offered.set(self)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Leave it.

        Raises:
            InvokeBadRequestError: of the SDK, in place of what it has made of ours on its way.
        """
        _offered.set(self._before)
        if error is not None and self.failure is not None:
            raise self.failure.as_sdks() from error


class _Call:
    """One call of `_generate`: what stands for what, and what of that has been sent."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._names: dict[int, str] = {}
        self._texts: dict[str, str] = {}
        self._due: set[str] = set()
        self._is_sent = False

    def converted(self, convert: Callable[[Any], Any], message: Any) -> Any:
        """Return what the SDK makes of a message, with stand-ins for what is offered."""
        content = getattr(message, "content", None)
        if self._is_sent or not isinstance(content, list):
            return convert(message)
        parts = [self._standing_in(part) for part in content]
        if all(part is other for part, other in zip(parts, content, strict=True)):
            return convert(message)
        made = convert(message.model_copy(update={"content": parts}))
        # Kinds of content that the SDK leaves out are not waited for.
        for text in _strings(made):
            self._due.update(name for name in self._texts if name in text)
        return made

    def body(self, body: Any) -> SplicedBody | None:
        """Return a body with texts for its stand-ins; None when it has none of this call's."""
        given = body.encode() if isinstance(body, str) else body
        if not isinstance(given, bytes):
            return None
        parts: list[bytes | str] = []
        end = 0
        for found in _STAND_IN.finditer(given):
            name = found[0].decode("ascii")
            if name in self._texts:
                parts += [given[end : found.start()], self._texts[name]]
                end = found.end()
                self._due.discard(name)
                self._is_sent = True
        return SplicedBody([*parts, given[end:]]) if parts else None

    def check(self) -> None:
        """Return when nothing stood in for something in vain.

        Raises:
            HookError: the model was asked without some of its images.
        """
        if self._due:
            raise HookError(
                f"hook_not_spliced: {len(self._due)} images were not sent by requests; "
                "splice: false in the hook's configuration lets the SDK send them"
            )

    def _standing_in(self, part: Any) -> Any:
        text = getattr(part, "base64_data", None)
        if id(text) not in self._offer.texts or getattr(part, "url", None):
            return part
        name = self._names.get(id(text))
        if name is None:
            name = self._names[id(text)] = f"Coatcheck{os.urandom(16).hex()}"
            self._texts[name] = self._offer.texts[id(text)]
        return part.model_copy(update={"base64_data": name})


def _strings(made: Any) -> Iterator[str]:
    if isinstance(made, str):
        yield made
    elif isinstance(made, (dict, list)):
        for each in made.values() if isinstance(made, dict) else made:
            yield from _strings(each)


def counts_text(model: Any) -> bool:
    """Say whether a model counts tokens as the SDK's class does, which looks at text alone.

    What counts a text's tokens may be the model's own: it is given no content.
    """
    sdks = _sdks_class()
    if sdks is None or not isinstance(model, sdks):
        return False
    names = [name for name in vars(sdks) if "num_tokens" in name or "message" in name]
    return all(_is_sdks(model, name) for name in names)


def _is_sdks(model: Any, name: str) -> bool:
    """Say whether a method is the SDK's own, in the class and in the object."""
    return name not in vars(model) and getattr(type(model), name) is vars(_sdks_class())[name]


def _sdks_class() -> Any:
    return getattr(sys.modules.get(_MODULE), _CLASS, None)


# The SDK's class and the adapter of `requests`, wrapped once for the process -----------------------


def _wrap_all() -> None:
    """Wrap them, if they are there. May be called again."""
    sdks = _sdks_class()
    adapter = getattr(sys.modules.get("requests.adapters"), "HTTPAdapter", None)
    if adapter is None or not {"_generate", _CONVERT} <= vars(sdks or object).keys():
        return
    for owner, name, wrap in (
        (adapter, "send", _sending),
        (sdks, _CONVERT, _converting),
        (sdks, "_generate", _asking),
    ):
        method = getattr(owner, name)
        if not hasattr(method, _MARK):
            wrapped = functools.wraps(method)(wrap(method))
            setattr(wrapped, _MARK, True)
            setattr(owner, name, wrapped)


def _asking(method: Callable[..., Any]) -> Callable[..., Any]:
    def generate(self: Any, *args: Any, **named: Any) -> Any:
        offer = _offered.get()
        if offer is None or not offer.texts or not _is_sdks(self, _CONVERT):
            return method(self, *args, **named)
        call, before = _Call(offer), _generating.get()
        _generating.set(call)
        try:
            answer = method(self, *args, **named)
        finally:
            _generating.set(before)
        try:
            call.check()
        except HookError as error:
            offer.failure = error
            raise
        return answer

    return generate


def _converting(method: Callable[..., Any]) -> Callable[..., Any]:
    def convert(self: Any, message: Any, *args: Any, **named: Any) -> Any:
        call = _generating.get()
        if call is None:
            return method(self, message, *args, **named)
        return call.converted(lambda it: method(self, it, *args, **named), message)

    return convert


def _sending(method: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: Any, request: Any, *args: Any, **named: Any) -> Any:
        call = _generating.get()
        body = None if call is None else call.body(request.body)
        if body is None:
            return method(self, request, *args, **named)
        spliced = request.copy()
        spliced.body = body
        spliced.headers["Content-Length"] = str(len(body))
        response = method(self, spliced, *args, **named)
        response.request = request
        return response

    return send
