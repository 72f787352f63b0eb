"""What a client says of a file before Gemini's upload brings the bytes."""

from coatcheck.protocol import clean_filename, clean_title, decode_json, has_chosen_name
from coatcheck.web import ProblemError, as_model, refuse

from .gemini_models import GeminiStart, NewGeminiFile

LIFETIME_SECONDS = 48 * 3600
"""How long Google keeps a file."""


def read_start(body: bytes) -> NewGeminiFile:
    """Return what is said of a file; the body may be empty.

    Raises:
        JsonError, MalformedRequestError: it says it wrongly (of the protocol).
        ProblemError: 400 `file_name_chosen`; prompts know our files by names that we give.
    """
    if has_chosen_name(body):
        raise _name_chosen()
    if not body.strip():
        return NewGeminiFile()
    return as_model(decode_json(body), GeminiStart).file or NewGeminiFile()


def name_of(file: NewGeminiFile, sent: str | None) -> str | None:
    """Return what a file is called: as it is to be shown, else as it was called where it came from."""
    return clean_title(file.display_name or "") or clean_filename(sent or "")


def _name_chosen() -> ProblemError:
    return refuse(
        400,
        "file_name_chosen",
        "Name chosen by the client",
        "files have names that this server gives; leave file.name out",
        path="file.name",
    )
