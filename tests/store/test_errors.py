"""Each error says whether the same request can succeed later with nothing changed by its sender."""

import pytest

from coatcheck import store
from coatcheck.store import StoreError

RETRYABLE = {
    "ImageWorkerLostError",
    "ImageWorkersBusyError",
    "StoreClosedError",
    "StoreUnavailableError",
    "UploadLockedError",
}

ERRORS = [
    error
    for name in store.__all__
    if isinstance(error := getattr(store, name), type) and issubclass(error, StoreError)
]


@pytest.mark.parametrize("error", ERRORS)
def test_only_what_passes_by_itself_is_worth_a_retry(error: type[StoreError]) -> None:
    assert error.retryable == (error.__name__ in RETRYABLE)
