"""Signatures of blobs' URLs: their windows, their ends, and what cannot be changed in them."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import Digest
from coatcheck.store import (
    SignatureExpiredError,
    SignatureInvalidError,
    SignedUrls,
    Store,
    StoreConfig,
)

WINDOW = 600
DIGEST = Digest.of(b"a ticket for a coat")
SECRET = bytes(range(32))


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def at(now: float, secret: bytes = SECRET) -> SignedUrls:
    return SignedUrls(secret, WINDOW, Clock(now))


def test_what_was_signed_says_for_whom() -> None:
    urls = at(1_000_000.5)
    for tenant in ("default", "a", "Acme:eu.west@1_2-3", "x" * 128):
        signed = urls.sign(tenant, DIGEST)
        assert urls.read(DIGEST, str(signed.expires_at), signed.signature) == tenant
        assert tenant not in signed.signature or len(tenant) == 1


@given(st.integers(0, 2**33), st.one_of(st.none(), st.integers(1, 7 * 86_400)))
def test_a_window_has_one_answer_and_its_end_is_far_enough(start: int, seconds: int | None) -> None:
    begin = start // WINDOW * WINDOW
    answers = [
        at(begin + offset).sign("acme", DIGEST, seconds) for offset in (0, 0.5, 1, WINDOW - 0.001)
    ]
    assert len(set(answers)) == 1
    wanted = WINDOW if seconds is None else seconds
    assert answers[0].same_until == begin + WINDOW
    assert answers[0].expires_at == begin + WINDOW + wanted
    assert at(begin + WINDOW).sign("acme", DIGEST, seconds) != answers[0]


def test_it_is_good_until_its_end_and_not_at_it() -> None:
    signed = at(0).sign("acme", DIGEST)
    end = str(signed.expires_at)
    assert at(signed.expires_at - 0.001).read(DIGEST, end, signed.signature) == "acme"
    for now in (signed.expires_at, signed.expires_at + 1e9):
        with pytest.raises(SignatureExpiredError):
            at(now).read(DIGEST, end, signed.signature)


def test_nothing_in_it_can_be_changed() -> None:
    urls = at(0)
    signed = urls.sign("acme", DIGEST)
    end, text = str(signed.expires_at), signed.signature
    token = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    flipped = [
        bytes(byte ^ (1 << bit) if i == at_ else byte for i, byte in enumerate(token))
        for at_ in range(len(token))
        for bit in range(8)
    ]
    others = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in flipped]
    cut = [text[:length] for length in range(len(text))]
    spelled = [f"{text}=", f"{text}A", f" {text}", text + "\n", text + "\u00e9", "*", "A" * 5000]
    other_bits = [text[:-1] + chr(ord(text[-1]) + 1)]
    for signature in (*others, *cut, *spelled, *other_bits):
        with pytest.raises(SignatureInvalidError):
            urls.read(DIGEST, end, signature)
    for expires in (f"0{end}", f"+{end}", f"{end}0", f" {end}", "", "-1", "9" * 5000, "\u0661"):
        with pytest.raises(SignatureInvalidError):
            urls.read(DIGEST, expires, text)
    with pytest.raises(SignatureInvalidError):
        urls.read(Digest.of(b"another"), end, text)
    with pytest.raises(SignatureInvalidError):
        at(0, bytes(32)).read(DIGEST, end, text)


def test_two_tenants_have_nothing_in_common() -> None:
    urls = at(0)
    first, second = (
        base64.urlsafe_b64decode(urls.sign(tenant, DIGEST).signature + "==")
        for tenant in ("acme0", "acme1")
    )
    assert sum(a == b for a, b in zip(first, second, strict=False)) < 6


async def test_the_secret_is_the_owners_and_outlives_the_store(tmp_path: Path) -> None:
    config = StoreConfig(tmp_path / "data")
    path = tmp_path / "data" / "url-secret"
    async with await Store.open(config) as store:
        signed = store.signed_urls.sign("acme", DIGEST)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    path.chmod(0o644)  # as a copy may have it
    async with await Store.open(config) as store:
        end = str(signed.expires_at)
        assert store.signed_urls.read(DIGEST, end, signed.signature) == "acme"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["gone", "cut", "garbage"])
async def test_without_its_secret_a_store_signs_with_a_new_one(tmp_path: Path, damage: str) -> None:
    config = StoreConfig(tmp_path / "data")
    path = tmp_path / "data" / "url-secret"
    async with await Store.open(config) as store:
        signed = store.signed_urls.sign("acme", DIGEST)
    before = path.read_text()
    match damage:
        case "gone":
            path.unlink()
        case "cut":
            path.write_text(before[:20])
        case _:
            path.write_text("no secret")
    async with await Store.open(config) as store:
        with pytest.raises(SignatureInvalidError):
            store.signed_urls.read(DIGEST, str(signed.expires_at), signed.signature)
    assert path.read_text() != before
