"""The limits of a server's connections: each with its unit, its default and its reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines and bounds for one server. All are per connection but `max_connections`."""

    header_seconds: float = 10.0
    """From the first byte of a request (or the connection's start) to the end of its header.
    A header is one packet; ten seconds outlast any retransmission."""

    keepalive_seconds: float = 75.0
    """An idle connection's life between requests: longer than the 60 s of common proxies, so
    that they close first and never send into a connection that is just closing."""

    body_idle_seconds: float = 30.0
    """The longest wait for the next byte of a body. Shorter would cut phones that change cells."""

    body_grace_seconds: float = 30.0
    """Waiting that a body may cost on top of what `body_min_bytes_per_second` allows."""

    body_min_bytes_per_second: int = 8 * 1024
    """A body's minimum rate, counted over the time spent waiting for it: 64 kbit/s, below any
    link in use, and enough to make holding a connection open expensive."""

    write_seconds: float = 60.0
    """A reader takes `write_min_bytes` of what waits for it, or all of it, within this time; else
    the connection is aborted. A minute covers a stalled mobile link."""

    write_min_bytes: int = 32 * 1024
    """See `write_seconds`: half the write buffer of asyncio, about 4 kbit/s."""

    linger_seconds: float = 10.0
    """After an early answer the rest of the body is read and dropped this long, so that the
    client sees the answer and not a reset."""

    max_connections: int = 1024
    """Connections at once; more are answered 503 and closed. Each takes about 20 kB and, with what
    a turn opens beside it, a few file descriptors: whoever runs the process sees to those."""

    max_header_bytes: int = 8190
    """One header line: the default of common servers. Longer ones are answered 400."""

    max_headers: int = 128
    """Header lines of one request."""

    cancel_seconds: float = 5.0
    """At a stop, time for cancelled handlers to clean up after the drain."""
