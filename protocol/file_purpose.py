"""What a file is for, as OpenAI's Files API has it, and whose business that is.

A file that a prompt may name is kept here, whatever model it is shown to. What a provider does
something with by itself (batches, fine-tuning, evaluations, its assistants) is of use to nobody
but the provider.
"""

from typing import Final

KEPT_PURPOSES: Final = ("user_data", "vision")
"""The purposes of files that are kept here, the usual one first."""


def is_kept_purpose(purpose: str) -> bool:
    """Say whether files of this purpose are kept here; all others are a provider's."""
    return purpose in KEPT_PURPOSES
