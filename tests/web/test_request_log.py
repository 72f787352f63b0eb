"""What a line of the request log holds of a path."""

import pytest

from coatcheck.web.request_log import shown_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/models/a%20b/%zz", "/v1/models/a%20b/%zz"),
        ("/v1/cck_abcdefgh_x/b", "/v1/cck_***/b"),
        ("/v1/%63ck_abcdefgh_x", "/v1/cck_***"),
        ("/v1/a%252Fcck_abcdefgh_x;b/c", "/v1/cck_***/c"),
    ],
)
def test_a_path_is_shown_but_for_keys(path: str, shown: str) -> None:
    assert shown_path(path) == shown
