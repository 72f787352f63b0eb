"""The dialects there are. Adding one adds a module and a line here."""

from collections.abc import Mapping
from types import MappingProxyType

from .dialect import Dialect
from .errors import UnknownDialectError
from .openai_chat import OpenAIChat

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (OpenAIChat(),)}
)


def dialect(name: str) -> Dialect:
    """Return the dialect with this name.

    Raises:
        UnknownDialectError: there is none.
    """
    try:
        return DIALECTS[name]
    except KeyError as error:
        known = ", ".join(DIALECTS)
        raise UnknownDialectError(f"no dialect {name[:80]!r}; there are: {known}") from error
