"""Parts of messages as they were before their slots were put into, so that they can be put into again."""

from collections.abc import Iterable, Iterator

from coatcheck.protocol import Json, JsonObject, Path

from .splice import Filling, at


class PartSnapshot:
    """What the slots of fillings change, and how it was. Slots go on knowing their places."""

    def __init__(self, body: JsonObject, fillings: Iterable[Filling]) -> None:
        """Take it before the slots are put into: some 2 µs for each."""
        paths: set[Path] = {filling.slot.path[:-1] for filling in fillings}
        objects = (each for path in paths for each in _objects(at(body, path)))
        self._contents = [(each, list(each.items())) for each in objects]

    def restore(self) -> None:
        """Make it as it was. May be called twice."""
        for each, items in self._contents:
            each.clear()
            each.update(items)


def _objects(value: Json) -> Iterator[JsonObject]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)
