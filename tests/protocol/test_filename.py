"""Names of files: short, shown, and no paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import MAX_FILENAME_CHARACTERS, clean_filename


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cat.png", "cat.png"),
        ("/etc/passwd", "passwd"),
        ("a\\b/c.txt", "c.txt"),
        ("ends/", None),
        (" spaced .txt ", "spaced .txt"),
        ("a\r\nb\x00c\x7f", "abc"),
        ("gnp\u202eexe", "gnpexe"),
        ("\ud800x", "x"),
        ("猫.png", "猫.png"),
        ("", None),
        (".", None),
        ("..", None),
        ("...", "..."),
        ("x" * 300, "x" * MAX_FILENAME_CHARACTERS),
    ],
)
def test_what_is_kept_of_a_name(text: str, kept: str | None) -> None:
    assert clean_filename(text) == kept


@given(st.text())
def test_a_clean_name_stays(text: str) -> None:
    kept = clean_filename(text)
    if kept is not None:
        assert clean_filename(kept) == kept
        assert len(kept) <= MAX_FILENAME_CHARACTERS
        kept.encode()
