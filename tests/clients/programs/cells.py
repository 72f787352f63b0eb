"""What every client's program shares: which cells to try, and how to say what came of each.

A program reads its plan as JSON from standard input and prints a line of JSON for each cell. Only
the standard library is used: it runs in the environment of any client.
"""

import base64
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """An image as a cell hands it in: `kind` is `file`, `ref`, `pointer` or `inline`.

    `text` is a file's id, a ref, or base64; of a file that the client is to make itself, it is empty.
    `pixel` is the image itself, in base64.
    """

    kind: str
    text: str
    pixel: str

    @property
    def data_url(self) -> str:
        """What stands where a data URL would."""
        return self.text if self.kind == "ref" else f"data:image/png;base64,{self.text}"


@dataclass(frozen=True)
class Cell:
    """One thing to try. `model` names the cell, so that a request tells which it belongs to."""

    url: str
    key: str
    dialect: str
    model: str
    is_streamed: bool
    picture: Picture

    @property
    def upload(self) -> tuple[str, bytes, str]:
        """A file's name, bytes and type, as SDKs take them."""
        return f"{self.model}.png", base64.b64decode(self.picture.pixel), "image/png"


class NotExpressibleError(Exception):
    """The client's interface has no place for this."""


def run(ask: Callable[[Cell], str]) -> None:
    """Try every cell of the plan; `ask` returns what the model said."""
    for planned in json.load(sys.stdin):
        cell = Cell(**{**planned, "picture": Picture(**planned["picture"])})
        print(json.dumps({"model": cell.model, **_tried(ask, cell)}), flush=True)


def _tried(ask: Callable[[Cell], str], cell: Cell) -> dict[str, object]:
    try:
        return {"said": ask(cell)}
    except NotExpressibleError as error:
        return {"inexpressible": str(error)}
    except Exception as error:  # noqa: BLE001
        kind = type(error)
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        return {
            "raised": f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}",
            "status": status if isinstance(status, int) else None,
            "words": str(error),
        }
