"""Runs one conversation about photographs in each of the three ways and takes the figures.

Each way has a server, a data folder and links of its own, so that none finds what another left.
The ways run one after the other: no way shares its time with another.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import pybase64

from coatcheck.client import AsyncClient, ClientError

from .demo_report import DemoReport, TurnFigures, Way
from .demo_talk import EnvelopeTalk, Links, PlainTalk, Talk
from .errors import DemoError
from .serve_process import serve_process
from .shaping_proxy import LinkShape, ShapingProxy

__all__ = ["DemoPlan", "Picture", "run_demo"]

_UPLOAD_PATH: Final = "/v1/blobs"
_FIRST_QUESTION: Final = "Here are my photographs. What do you see?"
_QUESTIONS: Final = (
    "Which of them is the brightest?",
    "And which would you print on a postcard?",
    "What time of day was the first one taken?",
    "Is there water in any of them?",
    "Which two go together best?",
    "Would you crop the last one?",
    "Suggest a title for each.",
    "Which colours should the frame have?",
    "Sum up what we said about them.",
)

_Bring = Callable[[Sequence["Picture"]], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image's bytes and the media type that they show."""

    data: bytes
    media_type: str

    @property
    def data_url(self) -> str:
        """The image as it stands in a message when it is inline."""
        return f"data:{self.media_type};base64,{pybase64.b64encode(self.data).decode()}"


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to run: at least one picture, at least one turn, over this link."""

    pictures: tuple[Picture, ...]
    turns: int
    uplink_bits_per_second: float
    round_trip_seconds: float
    body_limit_bytes: int | None

    @property
    def questions(self) -> list[str]:
        """One for each turn, over again when there are more turns than questions."""
        later = [_QUESTIONS[turn % len(_QUESTIONS)] for turn in range(self.turns - 1)]
        return [_FIRST_QUESTION, *later]

    @property
    def limited_link(self) -> LinkShape:
        """The link as it is; the route on which images are handed in has no body limit."""
        return LinkShape(
            uplink_bits_per_second=self.uplink_bits_per_second,
            round_trip_seconds=self.round_trip_seconds,
            body_limit_bytes=self.body_limit_bytes,
            unlimited_prefixes=(_UPLOAD_PATH,),
        )


@dataclass(frozen=True, slots=True)
class _Course:
    """One way from its first to its last turn."""

    figures: tuple[TurnFigures, ...]
    answers: tuple[str, ...]


async def run_demo(plan: DemoPlan, folder: Path, say: Callable[[str], None]) -> DemoReport:
    """Run the plan with data below `folder`, an empty folder; `say` is told of each turn.

    Raises:
        ServerStartError: a server did not start.
        DemoError: a request was not answered as it should.
    """
    courses = {way: await _run_way(way, plan, folder / way.value, say) for way in Way}
    answers = [course.answers for course in courses.values()]
    return DemoReport(
        uplink_bits_per_second=plan.uplink_bits_per_second,
        round_trip_seconds=plan.round_trip_seconds,
        body_limit_bytes=plan.body_limit_bytes,
        image_bytes=tuple(len(picture.data) for picture in plan.pictures),
        figures=tuple(one for course in courses.values() for one in course.figures),
        seen=_seen(courses[Way.ENVELOPE].answers[0], len(plan.pictures)),
        answers_agree=all(one == answers[0] for one in answers),
    )


async def _run_way(way: Way, plan: DemoPlan, folder: Path, say: Callable[[str], None]) -> _Course:
    say(f"{way.value}: starting a server")
    await asyncio.to_thread(folder.mkdir)
    async with (
        serve_process(folder) as port,
        ShapingProxy(port, plan.limited_link) as limited,
        ShapingProxy(port, replace(plan.limited_link, body_limit_bytes=None)) as free,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        AsyncClient(limited.url) as client,
    ):
        is_plain = way is not Way.ENVELOPE
        talk = (
            PlainTalk(session, Links(limited, free)) if is_plain else EnvelopeTalk(client, limited)
        )
        bring = _inline if way is Way.INLINE else partial(_upload, client)
        return await _converse(way, plan, talk, bring, say)


async def _converse(
    way: Way, plan: DemoPlan, talk: Talk, bring: _Bring, say: Callable[[str], None]
) -> _Course:
    clock = asyncio.get_running_loop().time
    figures: list[TurnFigures] = []
    answers: list[str] = []
    for turn, question in enumerate(plan.questions, start=1):
        before, began = talk.traffic, clock()
        urls = await bring(plan.pictures) if turn == 1 else []
        brought_seconds = clock() - began
        said = await talk.ask(question, urls)
        after = talk.traffic
        first = said.first_token_seconds
        figures.append(
            TurnFigures(
                way=way,
                turn=turn,
                bytes_up=after.up - before.up,
                bytes_down=after.down - before.down,
                first_token_seconds=None if first is None else first + brought_seconds,
                status=said.status,
            )
        )
        answers.append(said.text)
        say(f"{way.value}: turn {turn} of {plan.turns}, {figures[-1].bytes_up:,} bytes up")
    return _Course(tuple(figures), tuple(answers))


async def _inline(pictures: Sequence[Picture]) -> list[str]:
    return [picture.data_url for picture in pictures]


async def _upload(client: AsyncClient, pictures: Sequence[Picture]) -> list[str]:
    try:
        return [
            (await client.put(picture.data, media_type=picture.media_type)).ref
            for picture in pictures
        ]
    except ClientError as error:
        raise DemoError(f"an image could not be handed in: {error}") from error


def _seen(answer: str, count: int) -> tuple[str, ...]:
    """What echo said of each image: its numbered lines, with digests cut for the eye."""
    lines = [line for line in answer.splitlines() if re.match(r"[0-9]+\. ", line)]
    if len(lines) != count:
        raise DemoError(f"echo saw {len(lines)} images, not {count}: {answer}")
    return tuple(
        re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]+", r"\1..", line.partition(" ")[2]) for line in lines
    )
