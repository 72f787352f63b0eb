"""One request of an SDK's, from what it asks to the response that it gets. Waits for nothing itself.

1. What is no turn goes on as it came, body and all, and so does a turn that cannot be shortened.
2. An answer is passed on while its bytes come, whoever gives it; errors of the connection are the library's.
3. Directly to the provider goes, where that is wanted, what nobody took at Coatcheck: no connection was
   made, or the answer says so. Never what may have reached the provider already.
"""

from functools import partial
from typing import TYPE_CHECKING

from coatcheck.protocol import (
    Dialect,
    InvalidEndUserError,
    JsonObject,
    MalformedMessageError,
    encode_json,
    put_back,
)

from ..dehydrate import copy_object
from ..errors import (
    ClientError,
    ConnectionFailedError,
    InvalidAnswerError,
    InvalidArgumentError,
)
from ..exchange import Exchange, Reply, Work
from ..turn import Turn
from .direct import inlined, unresolved
from .errand import Errand, Reading
from .held import take_held
from .office import Office
from .steps import Drop, Load, Plan, Send

if TYPE_CHECKING:
    import httpx2


def carry(office: Office, request: "httpx2.Request", reading: Reading) -> "Plan[httpx2.Response]":
    """Send a request where it belongs; return its response, open.

    Raises:
        what the library raises.
    """
    url = office.address(request.url)
    if url is None:
        elsewhere = Errand(office, request, request.url)
        return (yield from Send(elsewhere.original))
    errand = Errand(office, request, url, office.dialect_of(request, url))
    if errand.dialect is not None and (turn := (yield from _read(errand, errand.dialect))):
        errand.take_on(turn)
    response = yield from _try(errand, reading) if office.fallback else _go(errand, reading)
    return response or (yield from _go_directly(errand))


def _read(errand: Errand, dialect: Dialect) -> Plan[Turn | None]:
    """Read what is asked; None where it is nothing that can be read, which whoever takes it says."""
    target = errand.url.raw_path.decode("ascii")
    headers = errand.office.turn_headers(errand.request)
    if (handed := errand.handed) is not None:
        try:
            body = copy_object(handed.body, "body")
        except InvalidArgumentError:
            return None
        return Turn(dialect, target, body, headers=headers, keeps_open=True)
    raw = yield from Load(errand.request)
    turn = yield from Work(partial(Turn.of_bytes, dialect, target, raw, headers, keeps_open=True))
    return None if turn.body is None else turn


def _try(errand: Errand, reading: Reading) -> "Plan[httpx2.Response | None]":
    """Send it to Coatcheck; None where nobody takes it there."""
    library = errand.office.library
    try:
        return (yield from _go(errand, reading))
    except (library.connect_error, library.connect_timeout):
        return None
    except library.transport_error:
        if errand.turn is None or errand.is_sent:
            raise
        return None


def _go(errand: Errand, reading: Reading) -> "Plan[httpx2.Response | None]":
    """Send it to Coatcheck; None where its answer says that nobody took it, and somebody else may."""
    office, turn = errand.office, errand.turn
    if turn is None:
        return (yield from Send(office.moved(errand.original, errand.url)))
    try:
        taken = yield from errand.run(take_held(turn, office.known, office.sources))
        return (yield from errand.response(taken.reply, taken.announcements, reading))
    except ConnectionFailedError as error:
        raise error.__cause__ or error from None
    except (ClientError, InvalidEndUserError) as error:
        if isinstance(error, InvalidAnswerError) and errand.is_sent:
            raise
    except BaseException:
        if errand.answer is not None:
            yield from Drop(errand.answer)
        raise
    # What it needs cannot be brought; with everything inline it may be taken all the same.
    try:
        body, _ = yield from Work(partial(_inlined, errand, turn))
        reply = yield from errand.run(_as_it_came(turn, body))
    except ConnectionFailedError as error:
        raise error.__cause__ or error from None
    return (yield from errand.response(reply, None, reading))


def _as_it_came(turn: Turn, body: JsonObject | None) -> Exchange[Reply]:
    """Send a turn whole: as it came, or with another body."""
    if body is None:
        request = yield from Work(turn.as_it_came)
    else:
        request = turn.request((yield from Work(partial(encode_json, body))))
    return (yield from request)


def _go_directly(errand: Errand) -> "Plan[httpx2.Response]":
    """Send it to the provider, with what is at hand inline; or say what is not."""
    if (turn := errand.turn) is None:
        return (yield from Send(errand.original))
    body, left = yield from Work(partial(_inlined, errand, turn))
    if left:
        return errand.refused(turn.dialect, unresolved(left))
    if body is None:
        return (yield from Send(errand.original))
    content = yield from Work(partial(encode_json, body))
    return (yield from Send(errand.rewritten(content)))


def _inlined(errand: Errand, turn: Turn) -> tuple[JsonObject | None, list[str]]:
    """Return a turn's body with what is at hand inline, where there is any; and what is not."""
    assert turn.body is not None
    try:
        body, left = inlined(turn.body, turn.dialect, errand.office.sources)
    except MalformedMessageError:
        return None, []  # whoever is asked says so
    return (None if body is None else {key: put_back(body[key]) for key in body}), left
