"""`python -m bench.fitting`: what an image policy costs a turn, and what it saves upstream.

Turns with refs of photographs of 2.6 MB, through one server with two upstreams that are the same but
for the policy. The first turn with an image makes its variant; those after it find it.
"""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from .caller import Caller
from .run import serve, upstream
from .turn_bodies import CHAT, photographs

_PLAIN, _FITTED = "plain", "fitted"
_TURNS = 10
_SETTINGS = """
[[upstream]]
name = "{plain}"
base_url = "{url}/v1"
models = ["{plain}"]

[[upstream]]
name = "{fitted}"
base_url = "{url}/v1"
models = ["{fitted}"]

[upstream.images]
fit = 1568
"""


@click.command()
@click.option("--images", default=5, show_default=True, type=click.IntRange(1, 50))
def main(images: int) -> None:
    """Measure the first turn and later ones, with one image and with several."""
    pictures = photographs(images + 1)
    with tempfile.TemporaryDirectory(prefix="coatcheck-fitting-") as name:
        folder = Path(name)
        with upstream(folder) as model:
            settings = _SETTINGS.format(plain=_PLAIN, fitted=_FITTED, url=model.url)
            with serve(folder, settings) as server, Caller(server.port) as caller:
                refs = [caller.upload(picture) for picture in pictures]
                _first(caller, refs[:1])  # the worker that makes it starts first
                for line in _measured(caller, refs[1:]):
                    click.echo(line)


def _measured(caller: Caller, refs: Sequence[str]) -> Iterator[str]:
    for some in (refs[:1], refs):
        first, sent = _first(caller, some)
        later = statistics.median(
            caller.turn(CHAT.path, _turn(some, _FITTED)).seconds for _ in range(_TURNS)
        )
        plain = [caller.turn(CHAT.path, _turn(some, _PLAIN)) for _ in range(_TURNS)]
        without = statistics.median(answer.seconds for answer in plain)
        yield (
            f"{len(some)} new images: first turn {first * 1000:.0f} ms, later ones "
            f"{later * 1000:.1f} ms, without a policy {without * 1000:.1f} ms; "
            f"{sent:,} bytes upstream instead of {plain[0].told['bytes']:,}"
        )


def _first(caller: Caller, refs: Sequence[str]) -> tuple[float, object]:
    answer = caller.turn(CHAT.path, _turn(refs, _FITTED))
    return answer.seconds, answer.told["bytes"]


def _turn(refs: Sequence[str], model: str) -> bytes:
    return CHAT.refs_turn(refs).replace(b'"bench-vision"', f'"{model}"'.encode())


if __name__ == "__main__":
    main()
