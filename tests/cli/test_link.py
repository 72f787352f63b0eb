from coatcheck.cli.link import Lane


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_bytes_leave_at_the_rate_of_the_lane() -> None:
    lane = Lane(8000.0, 0.0, Clock())
    left = [lane.reserve(100) for _ in range(10)]
    assert 100.9 < left[-1] <= 101.0
    assert left == sorted(left)


def test_idle_time_is_not_saved_up_beyond_the_burst() -> None:
    clock = Clock()
    lane = Lane(8000.0, 0.0, clock)
    clock.now += 60.0
    assert lane.reserve(1000) >= 160.99


def test_a_lane_without_a_rate_never_waits() -> None:
    clock = Clock()
    lane = Lane(None, 0.0, clock)
    assert [lane.reserve(10**9) for _ in range(3)] == [100.0] * 3


def test_chunks_are_a_small_share_of_the_rate() -> None:
    assert Lane(20e6, 0.0, Clock()).chunk_bytes == 12500
    assert Lane(9600, 0.0, Clock()).chunk_bytes == 1460
    assert Lane(None, 0.0, Clock()).chunk_bytes == 64 * 1024
