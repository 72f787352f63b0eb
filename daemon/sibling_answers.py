"""What siblings answer, read as values."""

import logging
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

_log = logging.getLogger("coatcheck.daemon")
_Model = TypeVar("_Model", bound=BaseModel)


def understood(model: type[_Model], answers: Iterable[bytes]) -> list[_Model]:
    """Return what siblings told; one that is of another version, as while they are replaced, told
    nothing.
    """
    told: list[_Model] = []
    for answer in answers:
        try:
            told.append(model.model_validate_json(answer))
        except ValidationError as error:
            _log.debug("a sibling answers something else: %s", error)
    return told
