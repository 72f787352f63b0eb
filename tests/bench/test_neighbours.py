from pathlib import Path

from bench.neighbour_servers import missing_neighbours


def test_what_is_not_installed_is_named_by_its_package(tmp_path: Path) -> None:
    assert missing_neighbours(str(tmp_path)) == ["nginx-light", "docker-registry"]
    for name in ("nginx", "docker-registry"):
        (tmp_path / name).touch(mode=0o755)
    assert missing_neighbours(str(tmp_path)) == []
