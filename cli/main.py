"""The command `coatcheck`, and what its exit codes mean.

0 done; 1 failed; 2 the command line is wrong; 3 what it names is not there; 4 the server refused;
5 no answer, trying again may help; 130 interrupted. No command shows a traceback.
"""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from types import MappingProxyType

import click

from coatcheck.client import BlobNotFoundError, ClientError, LocalFileError, ServerError
from coatcheck.protocol import ProtocolError

from .errors import (
    CliError,
    NotFoundError,
    QuantityError,
    RefusedWorkError,
    UnansweredWorkError,
    UsageError,
)

FAILED, USAGE, NOT_FOUND, REFUSED, NO_ANSWER, INTERRUPTED = 1, 2, 3, 4, 5, 130

# Imported when they are called: `put` should not wait for what only `serve` needs.
_COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "serve",
        "api": "serve",
        "daemon": "daemon",
        "demo": "demo",
        "put": "blob_commands",
        "get": "blob_commands",
        "stat": "blob_commands",
        "ls": "blob_commands",
        "rm": "blob_commands",
        "pin": "blob_commands",
        "unpin": "blob_commands",
        "sweep": "sweep",
        "scrub": "scrub",
        "check": "scrub",
        "erase": "erase",
        "keys": "keys",
        "dify": "dify",
        "report": "report",
        "doctor": "doctor",
    }
)


class _Commands(click.Group):
    """The commands, in the order in which a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f".{_COMMANDS[cmd_name]}", __package__)
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("coatcheck"), prog_name="coatcheck")
def coatcheck() -> None:
    """Hand in each image once, carry a ticket."""


def main() -> None:
    """Run the command line and exit."""
    try:
        sys.exit(coatcheck.main(standalone_mode=False))
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except (CliError, ClientError, ProtocolError, OSError) as error:
        if _is_reader_gone(error):
            _drop_output()  # there is nobody to tell
        else:
            click.echo(f"coatcheck: {error}", err=True)
        sys.exit(exit_code(error))


def _is_reader_gone(error: Exception) -> bool:
    """Say whether it was whoever reads standard output, such as `head`, that left."""
    broken = error.__cause__ if isinstance(error, LocalFileError) else error
    return isinstance(broken, BrokenPipeError)


def _drop_output() -> None:
    """Send nowhere what Python still holds for standard output, else it complains at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(error: Exception) -> int:
    """Return the exit code that says what kind of failure it was."""
    match error:
        case NotFoundError() | BlobNotFoundError():
            return NOT_FOUND
        case UsageError() | QuantityError() | ProtocolError():
            return USAGE
        case ServerError() | RefusedWorkError():
            return REFUSED
        case UnansweredWorkError():
            return NO_ANSWER
        case ClientError() if error.retryable:
            return NO_ANSWER
        case _:
            return FAILED
