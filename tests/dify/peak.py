"""A plugin's peak memory for the images of one request, in multiples of their bytes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from coatcheck.protocol import JsonObject

from ..clients.environments import DIFY_ECHOING, Environment
from .api_client import ApiClient
from .middle import Front, client_of, give_hook, in_front
from .prompt import Picture, image, invocation, picture, user
from .stand import Limits, Stand, standing

IMAGES = 15
IMAGE_BYTES = 2_600_000
COLUMNS = ("dify_plugin", "as refs, spliced", "as refs, `--no-splice`", "as base64")
_REQUESTS = 5
NO_LIMIT = Limits(line_bytes=1 << 30)

Naming = Callable[[Picture], str | None]


def peaks(stand: Stand, api: ApiClient, name: Naming, requests: int) -> Iterator[float]:
    """Yield the peak up to each of several requests, above a text's, in multiples of the images' bytes.

    The plugin starts anew. `name` returns a picture's ref, or None where its base64 is sent; the model
    must have been shown each picture.
    """
    pictures = [picture(IMAGE_BYTES, number) for number in range(IMAGES)]
    shown = [image(of, name(of)) for of in pictures]
    small = [picture(100, number) for number in range(IMAGES)]

    def ask(*images: JsonObject) -> int:
        stand.asked.clear()
        api.invoke(invocation(stand.model.url, [user("What?", *images)]))
        return stand.figures().peak_rss_bytes

    stand.start_plugin()
    stand.kill_plugin()  # what it has kept of earlier images would hide these
    ask(*[image(of, name(of)) for of in small])  # what it loads once
    stand.forget_peak()
    text_only = ask()
    size = sum(len(of.data) for of in pictures)
    for _ in range(requests):  # what one request leaves behind is in the next one's way
        taken = ask(*shown) - text_only
        assert [part.sha256 for part in stand.asked[0].parts] == [of.sha256 for of in pictures]
        yield taken / size


def measure_peaks(folder: Path, sdks: Sequence[Environment]) -> Iterator[list[str]]:
    """Yield the cells of each SDK's row. One that this machine has no Python for is left out.

    The SDK that echoes would take minutes for the base64 of so many images, so it is given none.
    """
    for environment in sdks:
        if environment.lacks:
            continue
        with ExitStack() as stack:
            place = folder / environment.name
            (place / "front").mkdir(parents=True)
            cells = [environment.version_of("dify_plugin")]
            plain = "" if environment is DIFY_ECHOING else _as_base64(environment, place)
            stand = stack.enter_context(standing(environment, place / "hooked", NO_LIMIT))
            front = stack.enter_context(
                in_front(stand, place / "front", has_keys=True, reuse="ref")
            )

            def name(of: Picture, front: Front = front) -> str:
                return front.put(of)[0]

            for splice in (True, False):
                give_hook(front, splice=splice)
                with front.api() as api:
                    cells.append(_span([*peaks(stand, api, name, _REQUESTS)]))
            yield [*cells, plain]


def _as_base64(environment: Environment, place: Path) -> str:
    with standing(environment, place / "plain", NO_LIMIT) as stand, client_of(stand) as api:
        return _span([*peaks(stand, api, lambda of: None, _REQUESTS)])


def _span(found: Sequence[float]) -> str:
    low, high = f"{min(found):.2f}", f"{max(found):.2f}"
    return low if low == high else f"{low} to {high}"
