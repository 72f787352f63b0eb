"""Where values stand in a JSON text, so that a few can be replaced and all else stays as written."""

import json
import re
from collections.abc import Collection, Iterable

from .attachment import Path

Spans = dict[Path, tuple[int, int]]
"""Start and end, in characters."""

_space = re.compile(r"[ \t\n\r]*").match
_decoder = json.JSONDecoder()


def find_spans(text: str, paths: Collection[Path]) -> Spans:
    """Return where the values at `paths` stand in a JSON text that was read before.

    A value inside another of them is left out. A step that is a number may stand before a value that
    is no list, and means that value. What is on no path is passed over at a parser's pace.

    Raises:
        KeyError: a path leads to no value.
    """
    outermost = _outermost(paths)
    seeker = _Seeker(text)
    seeker.visit(seeker.skip(0), _tree(outermost), ())
    if seeker.spans.keys() != outermost:
        raise KeyError("a path leads to no value")
    return seeker.spans


class _Tree(dict[str | int, "_Tree"]):
    """Steps of paths; an empty one is the end of a path."""


def _tree(paths: Iterable[Path]) -> _Tree:
    root = _Tree()
    for path in paths:
        node = root
        for step in path:
            node = node.setdefault(step, _Tree())
    return root


def _outermost(paths: Iterable[Path]) -> set[Path]:
    found = set(paths)
    return {path for path in found if not any(path[:n] in found for n in range(len(path)))}


class _Seeker:
    """Walks one text; each method takes where something begins and returns where it ends."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.spans: Spans = {}

    def visit(self, at: int, tree: _Tree, path: Path) -> int:
        if not tree:
            end = self._pass(at)
            self.spans[path] = (at, end)
            return end
        opening = self._text[at]
        if opening == "[":
            return self._list(at, tree, path)
        if 0 in tree:  # one value in place of a list
            return self.visit(at, tree[0], (*path, 0))
        return self._object(at, tree, path) if opening == "{" else self._pass(at)

    def skip(self, at: int) -> int:
        if self._text[at] > " ":  # no space, as most often: quicker than an expression finds out
            return at
        match = _space(self._text, at)
        return match.end() if match else at

    def _pass(self, at: int) -> int:
        return _decoder.raw_decode(self._text, at)[1]

    def _object(self, at: int, tree: _Tree, path: Path) -> int:
        at = self.skip(at + 1)
        while self._text[at] != "}":
            key, at = _decoder.raw_decode(self._text, at)
            at = self.skip(self.skip(at) + 1)
            at = self._item(at, tree, path, key)
        return at + 1

    def _list(self, at: int, tree: _Tree, path: Path) -> int:
        at = self.skip(at + 1)
        index = 0
        while self._text[at] != "]":
            at = self._item(at, tree, path, index)
            index += 1
        return at + 1

    def _item(self, at: int, tree: _Tree, path: Path, step: str | int) -> int:
        """Pass an item and the comma behind it."""
        inner = tree.get(step)
        end = self._pass(at) if inner is None else self.visit(at, inner, (*path, step))
        end = self.skip(end)
        return self.skip(end + 1) if self._text[end] == "," else end
