"""Strict JSON: one text, one meaning.

Refused by name: duplicate keys, NaN and infinities (also by overflow), nesting over 200, bytes
that are not UTF-8. Integers keep every digit; doubles keep their value, because both Python and
JSON writers use the shortest text that reads back the same.
"""

import json
from collections.abc import Callable, Sequence
from typing import NoReturn

from .buffer import Buffer, Whole
from .errors import JsonError
from .short_json import MARK, ShortJson, TakenText, shorten_json

Json = None | bool | int | float | str | Sequence["Json"] | dict[str, "Json"]
JsonObject = dict[str, Json]

_MAX_MARKED = 300  # characters: the head of a data URL, and a mark
MAX_DEPTH = 200
"""Lists and objects inside one another, counted from the outermost: far above any real message."""


def decode_json(data: Buffer | str | ShortJson, *, keeps_taken: bool = False) -> Json:
    """Read a JSON text (RFC 8259) in time linear in its length.

    With `keeps_taken` a `TakenText` stands for each string that was taken out of a `ShortJson`.

    Raises:
        JsonError: the text is not JSON, or breaks one of the module's rules.
    """
    short = shorten_json(data) if isinstance(data, bytes) else data
    if not isinstance(short, ShortJson):
        return _decode(short, _decoder)
    if short.taken:
        putting_back = _PuttingBack(short, keeps_taken=keeps_taken)
        try:
            value = _decode(short.text, putting_back.decoder)
        except JsonError:
            pass  # the whole text says where
        else:
            if putting_back.is_done:
                return value
    return _decode(short.whole, _decoder)


def _decode(data: Buffer | Whole | str, decoder: json.JSONDecoder) -> Json:
    try:
        text = data if isinstance(data, str) else str(data, "utf-8")
        value: Json = decoder.decode(text)
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise JsonError(f"nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:  # an integer with thousands of digits
        raise JsonError(f"not readable JSON: {error}") from error
    # As many brackets are quickly counted, and few texts have more.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise JsonError(f"nested deeper than {MAX_DEPTH}")
    return value


def encode_json(value: Json) -> bytes:
    """Write a JSON text, compact, in UTF-8; lone surrogates alone are escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")  # as JSON has it: \\ud800


def copy_json(value: Json) -> Json:
    """Copy lists and objects; strings are shared. Recursive, so for values of bounded depth."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def put_back(value: Json) -> Json:
    """Copy lists and objects, with the whole string for each `TakenText`; see `copy_json`."""
    if isinstance(value, dict):
        return {key: put_back(item) for key, item in value.items()}
    if isinstance(value, list):
        return [put_back(item) for item in value]
    return value.whole if isinstance(value, TakenText) else value


def _is_deeper(value: Json, depth: int) -> bool:
    """Walk level by level, so that the walk itself cannot run out of stack."""
    level = [value]
    for _ in range(depth):
        inner: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        level = inner
    return any(isinstance(item, dict | list) for item in level)


def _unique(pairs: list[tuple[str, Json]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonError(f"duplicate key {key[:80]!r}")
            seen.add(key)
    return value


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise JsonError(f"a number beyond a double's range: {text[:40]}")
    return number


def _refuse(name: str) -> NoReturn:
    raise JsonError(f"{name} is not a JSON number")


def _decoder_of(hook: Callable[[list[tuple[str, Json]]], JsonObject]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=hook, parse_float=_finite, parse_constant=_refuse)


_decoder = _decoder_of(_unique)


class _PuttingBack:
    """Puts strings back where their marks stand as the value of a key."""

    def __init__(self, short: ShortJson, *, keeps_taken: bool) -> None:
        self._left: dict[str, TakenText] = {taken: taken for taken in short.taken}
        self._keeps_taken = keeps_taken
        self._is_sound = True
        self.decoder = _decoder_of(self._object)

    @property
    def is_done(self) -> bool:
        """Whether each mark was met once."""
        return self._is_sound and not self._left

    def _object(self, pairs: list[tuple[str, Json]]) -> JsonObject:
        value = _unique(pairs)
        for key, item in pairs:
            if isinstance(item, str) and MARK in item[:_MAX_MARKED]:
                taken = self._left.pop(item, None)
                if taken is None:
                    self._is_sound = False
                else:
                    value[key] = taken if self._keeps_taken else taken.whole
        return value
