"""Whether ref form comes back: that what it is hydrated to is what was there before.

A ref says less than a client may have written: a media type in capitals, a data URL with parameters or
without a type, base64 where a data URL is written. Whoever puts refs into somebody else's request looks
here first, and leaves alone what would go upstream in other words.
"""

from collections.abc import Callable, Mapping, Sequence

from .attachment import FoundInline, FoundRef, Slot
from .digest import Digest
from .json_value import Json, copy_json

Walk = Callable[[Json], Sequence[Slot]]

_STAND_IN = "@coatcheck.same:"  # for base64 that is the same before and after
_NO_TYPE = "\0"  # no client writes it: where nothing shows a type, none that comes back is known


def comes_back(walk: Walk, before: Json, after: Json, shown: Mapping[Digest, str | None]) -> bool:
    """Whether hydrating `after`, which is the ref form of `before`, gives the same JSON.

    `walk` finds the attachments of either; `shown` says what type the content of a blob shows. Neither
    value is changed.
    """
    restored = copy_json(after)
    old_slots, new_slots = walk(before), walk(restored)
    if len(old_slots) != len(new_slots):
        return False
    texts: dict[int, set[str]] = {}
    for old, new in zip(old_slots, new_slots, strict=True):
        was, now = old.found, new.found
        if not isinstance(was, FoundInline) or not isinstance(now, FoundRef):
            continue
        if was.is_url_safe != new.is_url_safe:
            return False
        texts.setdefault(id(was.text), set()).add(str(was.text)[: was.start] + _STAND_IN)
        media_type = now.ref.media_type or shown.get(now.ref.digest) or _NO_TYPE
        new.put_inline(media_type, _STAND_IN)
    return _is_same(before, restored, texts)


def _is_same(before: Json, restored: Json, texts: Mapping[int, set[str]]) -> bool:
    """Compare; `texts` are what those with base64 are, by identity: they are long."""
    if before is restored:
        return True
    if isinstance(before, dict):
        return (
            isinstance(restored, dict)
            and before.keys() == restored.keys()
            and all(_is_same(value, restored[key], texts) for key, value in before.items())
        )
    if isinstance(before, list):
        return (
            isinstance(restored, list)
            and len(before) == len(restored)
            and all(_is_same(*pair, texts) for pair in zip(before, restored, strict=True))
        )
    if isinstance(before, str) and restored in texts.get(id(before), ()):
        return True
    return type(before) is type(restored) and before == restored
