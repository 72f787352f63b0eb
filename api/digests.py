"""Lists of digests in a request's body."""

from collections.abc import Sequence

from coatcheck.protocol import Digest, InvalidDigestError, MalformedRequestError


def digests_of(texts: Sequence[str]) -> list[Digest]:
    """Read the field `digests` of a body.

    Raises:
        MalformedRequestError: one is no digest; its path names the first.
    """
    digests: list[Digest] = []
    for index, text in enumerate(texts):
        try:
            digests.append(Digest(text))
        except InvalidDigestError as error:
            raise MalformedRequestError(str(error), f"digests.{index}", error.code) from error
    return digests
