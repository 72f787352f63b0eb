import pytest

from coatcheck.cli.errors import QuantityError
from coatcheck.cli.quantity import parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "bits_per_second"),
    [("20mbit", 20e6), ("2.5Gbit", 2.5e9), (" 800 kbit ", 800e3), ("9600bit", 9600.0)],
)
def test_rates_count_in_thousands(text: str, bits_per_second: float) -> None:
    assert parse_rate(text) == pytest.approx(bits_per_second)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("40ms", 0.04),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("90d", 7776000.0),
        ("250us", 0.00025),
        ("0", 0.0),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1m", 1024 * 1024), ("512K", 512 * 1024), ("0", 0), ("1000", 1000), ("1.5k", 1536)],
)
def test_sizes_count_as_nginx_does(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "fast", "20", "20mb", "-1mbit", "1e9bit", "20 m bit", "٣mbit"]
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(QuantityError, match="20mbit"):
        parse_rate(text)


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(QuantityError, match="above zero"):
        parse_rate("0mbit")


@pytest.mark.parametrize("text", ["40", "ms", "-1s", "1.2.3s", "1w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match="is not a time"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "1t", "m", "-5", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match="is not a size"):
        parse_size(text)


def test_a_part_of_a_byte_is_refused() -> None:
    with pytest.raises(QuantityError, match="whole number of bytes"):
        parse_size("1.5")
