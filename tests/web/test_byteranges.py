"""Several parts in one answer: what is read back, and how long it can get."""

import email
import email.policy

from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import Digest
from coatcheck.web.byteranges import Byteranges
from coatcheck.web.ranges import MAX_RANGES, select_spans

AROUND_A_PART_BYTES = 300  # a boundary of 64, a media type, a range of three numbers

a_range = st.tuples(st.integers(0, 2000), st.integers(0, 40)).map(
    lambda item: f"{item[0]}-{item[0] + item[1]}"
)


@given(
    data=st.binary(min_size=1, max_size=2000),
    ranges=st.lists(a_range, min_size=2, max_size=MAX_RANGES),
)
def test_the_parts_are_the_slices_asked_for_and_their_length_is_foretold(
    data: bytes, ranges: list[str]
) -> None:
    ranges.sort(key=lambda text: int(text.partition("-")[0]))
    spans = select_spans(f"bytes={','.join(ranges)}", len(data)) or ()
    parts = Byteranges(Digest.of(data), len(data), "image/png", spans)
    body = b"".join([*(parts.begin(span) + data[span.start : span.stop] for span in spans)])
    body += parts.end()
    assert parts.length == len(body) <= len(data) + AROUND_A_PART_BYTES * (MAX_RANGES + 1)
    if not spans:
        return
    head = f"Content-Type: {parts.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    read = [
        (part["Content-Type"], part["Content-Range"], part.get_payload(decode=True))
        for part in message.iter_parts()
    ]
    assert read == [
        (
            "image/png",
            f"bytes {span.start}-{span.stop - 1}/{len(data)}",
            data[span.start : span.stop],
        )
        for span in spans
    ]
