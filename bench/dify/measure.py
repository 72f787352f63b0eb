"""What the ways of a chat cost beside base64, with a limit for what is promised."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.clients.environments import DIFY, DIFY_OLD, Environment

from ..finding import Finding, Unmeasured
from .api import Facts
from .chain import WAYS, Way
from .chat import Chat, Size, run_chats

MAX_CROSSED_PERCENT = 1.0
MAX_REQUEST_KILOBYTES = 1.0
MAX_RESPONSE_KILOBYTES = 40.0
_MEGA = 1e6


def measure_dify(
    folder: Path,
    say: Callable[[str], None],
    size: Size | None = None,
    ways: Sequence[Way] = WAYS,
    environment: Environment | None = None,
) -> Iterator[Finding | Unmeasured]:
    """Yield what each way took. The first way is `BASE64`, which the others are compared with.

    Raises:
        ServerStartError, UnexpectedAnswerError: see `run_chats`.
    """
    size = size or Size()
    environment = environment or _sdk()
    if environment is None:
        yield Unmeasured("dify", "python -m tests.clients --install")
        return
    say(f"dify: {size.images} images, dify_plugin {environment.version_of('dify_plugin')}")
    chats = run_chats(folder, ways, size, environment, say)
    for chat in chats:
        yield from _findings(chat, chats[0], size)


def _sdk() -> Environment | None:
    """Return the newest SDK that is installed here."""
    return next((each for each in (DIFY, DIFY_OLD) if not each.lacks and each.is_made), None)


def _findings(chat: Chat, base: Chat, size: Size) -> Iterator[Finding]:
    yield _last_turn(chat, base)
    yield _cpu(chat, base)
    yield _memory(chat, base)
    yield _between(chat, base)
    if chat.way.is_short:
        yield _after_the_first(chat, base, size)
    if chat.way.sends == "refs" and chat.one is not None:
        yield from _one_image(chat.way, chat.one)


def _last_turn(chat: Chat, base: Chat) -> Finding:
    seconds = chat.seconds
    return Finding(
        f"dify, {chat.way.name}: the last turn's time",
        seconds[-1],
        None,
        "s",
        f"{_times(seconds[-1], base.seconds[-1])}first {seconds[0]:.2f}, "
        f"median {median(seconds):.2f}",
    )


def _cpu(chat: Chat, base: Chat) -> Finding:
    return Finding(
        f"dify, {chat.way.name}: CPU",
        chat.cpu_seconds,
        None,
        "s",
        f"{_times(chat.cpu_seconds, base.cpu_seconds)}API {chat.api_seconds:.2f}, ours "
        f"{chat.ours_seconds:.2f}, plugin {chat.plugin_seconds:.2f}; beside it what stands for the "
        f"plugin daemon and the model {chat.stand_ins_seconds:.2f}",
    )


def _memory(chat: Chat, base: Chat) -> Finding:
    ours = " and ".join(f"{peak / _MEGA:.0f}" for peak in chat.ours_peak_bytes) or "none"
    return Finding(
        f"dify, {chat.way.name}: peak memory of the plugin",
        chat.plugin_peak_bytes / _MEGA,
        None,
        "MB",
        f"{_times(chat.plugin_peak_bytes, base.plugin_peak_bytes)}text alone "
        f"{chat.plugin_idle_bytes / _MEGA:.0f}; API "
        f"{max(each.peak_rss_bytes for each in chat.facts) / _MEGA:.0f}, ours {ours}",
    )


def _between(chat: Chat, base: Chat) -> Finding:
    return Finding(
        f"dify, {chat.way.name}: between the hosts",
        sum(chat.crossed) / _MEGA,
        None,
        "MB",
        f"{_times(sum(chat.crossed), sum(base.crossed))}first turn {chat.crossed[0] / _MEGA:.2f}, "
        f"last {chat.crossed[-1] / _MEGA:.2f}; at the plugin daemon "
        f"{chat.at_daemon_bytes / _MEGA:.1f}, in the plugin's lines {chat.lines_bytes / _MEGA:.1f}",
    )


def _one_image(way: Way, one: Facts) -> Iterator[Finding]:
    name, chunks = f"dify, {way.name}: one image", len(one.text.split())
    sent, got = one.request_bytes / 1e3, one.response_bytes / 1e3
    yield Finding(f"{name}, request", sent, MAX_REQUEST_KILOBYTES, "kB", "its body")
    yield Finding(f"{name}, answer", got, MAX_RESPONSE_KILOBYTES, "kB", f"{chunks} chunks")


def _after_the_first(chat: Chat, base: Chat, size: Size) -> Finding:
    """What crossed after the first turn, without the bytes of the images that were new."""
    new = (size.turns - 1) * size.images_a_turn * size.image_bytes
    ours, theirs = sum(chat.crossed[1:]) - new, sum(base.crossed[1:])
    return Finding(
        f"dify, {chat.way.name}: after the first turn, beside new images",
        100 * ours / theirs,
        MAX_CROSSED_PERCENT,
        "%",
        f"{ours / 1e3:.0f} kB and {new / _MEGA:.1f} MB of new images, "
        f"base64 {theirs / _MEGA:.1f} MB",
    )


def _times(value: float, base: float) -> str:
    """Return the ratio to base64's."""
    return "" if value == base else f"{value / base:.2f} x base64; "
