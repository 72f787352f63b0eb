"""Ids of uploads and parts, told from a provider's by their form."""

import pytest

from coatcheck.protocol import part_id_of, read_part_id, read_upload_id, upload_id_of

NAME = "0123456789abcdef" * 2


def test_ids_are_read_as_they_are_written() -> None:
    assert read_upload_id(upload_id_of(NAME)) == NAME
    assert read_part_id(part_id_of(NAME)) == NAME


@pytest.mark.parametrize(
    "text",
    [
        "",
        "upload_abc123",
        NAME,
        f"upload_cc{NAME[1:]}",
        f"upload_cc{NAME}0",
        f"upload_cc{NAME}\n",
        f"upload_cc{NAME.upper()}",
        f"part_{NAME}",
        f"upload_cc{'٣' * 32}",
    ],
)
def test_other_ids_are_a_providers(text: str) -> None:
    assert read_upload_id(text) is None
    assert read_part_id(text) is None
