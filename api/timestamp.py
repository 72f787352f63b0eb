"""Times as Google and Anthropic write them (RFC 3339): UTC, to the microsecond."""

from datetime import UTC, datetime


def timestamp(unix_seconds: float) -> str:
    """Return a time such as `2026-11-26T21:00:00.123456Z`."""
    text = datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
