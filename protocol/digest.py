"""A blob's identity: SHA-256, never truncated, written `sha256:` + 64 lowercase hex.

A `Digest` that exists is well formed, so nothing downstream checks it again; in particular its
text never holds a path separator.
"""

import hashlib
import re
from typing import Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from .buffer import Buffer
from .errors import InvalidDigestError

PREFIX = "sha256:"
PATTERN = r"^sha256:[0-9a-f]{64}$"

_matches = re.compile(r"sha256:[0-9a-f]{64}").fullmatch


class Digest(str):
    """The validated text of a digest; it compares, hashes and serialises as that text.

    Raises:
        InvalidDigestError: the text is anything but `sha256:` and 64 of `0-9a-f`. Upper case is
            refused rather than folded, so that one blob has one spelling.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not _matches(text):
            raise InvalidDigestError(
                "a digest is 'sha256:' and 64 lowercase hexadecimal digits, "
                f"not {text[:80]!r}{'...' if len(text) > 80 else ''}"
            )
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: Buffer) -> Self:
        """Return the digest of bytes held in memory; about 0.7 ms a megabyte."""
        return cls.from_raw(hashlib.sha256(data).digest())

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Return the digest with these 32 bytes.

        Raises:
            InvalidDigestError: there are not 32.
        """
        return cls(PREFIX + raw.hex())

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits."""
        return self[len(PREFIX) :]

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return bytes.fromhex(self.hex)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls._validated, core_schema.str_schema(strict=True)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": PATTERN}

    @classmethod
    def _validated(cls, text: str) -> Self:
        try:
            return cls(text)
        except InvalidDigestError as error:
            raise ValueError(str(error)) from error
