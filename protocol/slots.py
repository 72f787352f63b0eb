"""Slots that several dialects have: a URL, bare base64, a file id that gives way to bytes."""

from dataclasses import dataclass, replace

from .attachment import Found, Path
from .json_value import JsonObject
from .ref import Ref


@dataclass(frozen=True, slots=True)
class UrlSlot:
    """The string `holder[key]`. A ref or a data URL goes under `target`, in the key's place."""

    path: Path
    found: Found
    holder: JsonObject
    key: str
    target: str
    is_url_safe = False

    def put_ref(self, ref: Ref) -> None:
        """Put a ref there."""
        replace_keys(self.holder, self.key, {self.target: str(ref)})

    def put_inline(self, media_type: str, base64_text: str) -> None:
        """Put a data URL there."""
        data_url = f"data:{media_type};base64,{base64_text}"
        replace_keys(self.holder, self.key, {self.target: data_url})


@dataclass(frozen=True, slots=True)
class Base64Slot:
    """The string `holder[key]`, bare base64 whose type the provider knows: a ref has none."""

    path: Path
    found: Found
    holder: JsonObject
    key: str
    is_url_safe = False

    def put_ref(self, ref: Ref) -> None:
        """Put a ref there, without its type."""
        self.holder[self.key] = str(replace(ref, media_type=None))

    def put_inline(self, media_type: str, base64_text: str) -> None:
        """Put base64 there."""
        self.holder[self.key] = base64_text


def replace_keys(holder: JsonObject, old: str, entries: JsonObject) -> None:
    """Put entries where the key `old` stands; those of their keys that stand elsewhere go."""
    kept = list(holder.items())
    holder.clear()
    for key, value in kept:
        if key == old:
            holder.update(entries)
        elif key not in entries:
            holder[key] = value
