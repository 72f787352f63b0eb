"""Which library an SDK sends with."""

import subprocess
import sys

import httpx
import httpx2
import pytest

from coatcheck.client import InvalidArgumentError
from coatcheck.client.sdk.library import library_of, load, preferred


class OfAUser(httpx2.Client):
    """A client of a user's own class."""


def test_a_client_tells_its_library() -> None:
    with httpx.Client() as one, OfAUser() as two:
        assert issubclass(library_of(two).client, httpx2.Client)
        assert library_of(one).client.__module__.partition(".")[0] == httpx.__name__
    with pytest.raises(InvalidArgumentError, match="int"):
        library_of(5)


def test_installed_sdks_decide() -> None:
    assert preferred() == "httpx2"


def test_what_is_not_installed_is_an_argument_that_does_not_fit() -> None:
    with pytest.raises(InvalidArgumentError, match="not installed"):
        load("httpx3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_nothing_of_an_sdk_is_imported_before_it_is_used() -> None:
    program = (
        "import sys, coatcheck.client\n"
        "print([name for name in sys.modules if name.partition('.')[0] in"
        " ('httpx', 'httpx2', 'anyio', 'openai', 'anthropic', 'google')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
