"""Settings: what is taken, what is refused, and what defaults they have."""

import contextlib
from dataclasses import fields
from pathlib import Path

import pytest

from coatcheck.cli.errors import SettingsError
from coatcheck.cli.settings import Settings
from coatcheck.cli.settings_sources import load_settings
from coatcheck.cli.upstream_settings import UpstreamSettings
from coatcheck.daemon import GatewayConfig, ImagePolicy, Timeouts, UpstreamConfig
from coatcheck.store import ImageWorkerConfig, StoreConfig


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _origins(*urls: str) -> frozenset[str]:
    settings = load_settings(None, {"public_urls": urls})
    return settings.daemon_config({}).gateway.public_origins


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://coat.example", "coat.example"),
        ("https://coat.example/", "coat.example"),
        ("HTTPS://Coat.Example:443", "coat.example"),
        ("http://coat.example:80/", "coat.example"),
        ("https://coat.example:80", "coat.example:80"),
        ("http://coat.example:443", "coat.example:443"),
        ("http://coat.example:08420", "coat.example:8420"),
        ("http://coat.example:", "coat.example"),
        ("http://192.0.2.7:8420", "192.0.2.7:8420"),
        ("http://[2001:DB8::1]:8420", "[2001:db8::1]:8420"),
        ("https://[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_a_public_url_is_spelled_as_a_host_header_is(url: str, authority: str) -> None:
    assert _origins(url) == {authority}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "coat.example",
        "coat.example:8420",
        "ftp://coat.example",
        "http://",
        "http:///v1",
        "http://:8420",
        "http://user@coat.example",
        "http://user:word@coat.example",
        "http://@coat.example",
        "http://coat.example/v1",
        "http://coat.example//",
        "http://coat.example?",
        "http://coat.example/?a=b",
        "http://coat.example#top",
        "http://coat.example:port",
        "http://coat.example:0",
        "http://coat.example:65536",
        "http://coat.example, http://hat.example",
        "http://coat\n.example",
        " http://coat.example",
        "http://c\u00f6at.example",
        "http://[::1",
        "http://[coat]",
        "http://coat\\example",
        "http://coat*",
    ],
)
def test_a_public_url_that_is_no_origin_is_named(url: str) -> None:
    with pytest.raises(SettingsError, match=r"public_urls\.0.*origin"):
        _origins(url)


@pytest.mark.parametrize("url", ["http://:80/v1", "http://x:port/v1", "http://x:0", "http://[::1"])
def test_a_base_url_without_a_host_is_named(url: str) -> None:
    with pytest.raises(SettingsError, match=r"upstream\.0\.base_url"):
        load_settings(None, {"upstream": [{"name": "far", "base_url": url}]})


def _upstream(**fields: object) -> UpstreamSettings:
    return load_settings(None, {"upstream": [{"name": "u", **fields}]}).upstream[0]


def test_an_upstream_may_be_at_several_addresses() -> None:
    urls = ("http://a.example:8000/v1", "http://b.example:8000/v1")
    config = _upstream(base_urls=urls, spill_requests=3).config({})
    assert (config.base_url, config.base_urls, config.spill_requests) == (urls[0], urls, 3)
    alone = _upstream(base_urls=urls[:1]).config({})
    assert (alone.base_url, alone.base_urls) == (urls[0], ())
    assert UpstreamSettings(name="u", base_url=urls[0]).config({}) == alone
    assert alone.spill_requests == UpstreamConfig("").spill_requests


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "takes a base_url, or base_urls"),
        ({"base_urls": []}, "takes a base_url, or base_urls"),
        ({"base_url": "http://a", "base_urls": ["http://b"]}, "takes a base_url, or base_urls"),
        ({"base_urls": ["http://a/v1", "http://a/v1/"]}, "there twice"),
        ({"base_urls": ["http://a", "http://:80"]}, "base_urls.1.*host"),
        ({"base_urls": ["http://a", "b"]}, "base_urls.1"),
        ({"base_urls": ["http://a", "http://b"], "spill_requests": 0}, "spill_requests"),
    ],
)
def test_addresses_that_are_none_are_named(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        _upstream(**fields)


def test_how_an_upstream_gets_blobs_is_said() -> None:
    config = _upstream(
        base_url="http://a", reuse="file", file_root="/mnt/blobs", file_access="group"
    ).config({})
    assert (config.reuse, config.file_root, config.file_access) == (
        "file",
        Path("/mnt/blobs"),
        "group",
    )
    with pytest.raises(SettingsError, match=r"file_root.*absolute"):
        _upstream(base_url="http://a", reuse="file", file_root="blobs")
    with pytest.raises(SettingsError, match="file_access"):
        _upstream(base_url="http://a", reuse="file", file_access="all")
    with pytest.raises(SettingsError, match="reuse"):
        _upstream(base_url="http://a", reuse="magic")


def test_who_fetches_has_to_know_where() -> None:
    upstream = UpstreamSettings(name="far", base_url="http://a.example", reuse="url")
    with pytest.raises(SettingsError, match=r"far.*public_urls"):
        Settings(upstream=(upstream,)).check_reach()
    Settings(upstream=(upstream,), public_urls=("https://coat.example",)).check_reach()


def test_one_of_several_addresses_that_is_this_server_itself_is_refused() -> None:
    upstream = UpstreamSettings(name="u", base_urls=("http://far.example", "http://127.0.0.1:8420"))
    with pytest.raises(SettingsError, match="itself"):
        Settings(upstream=(upstream,)).daemon_config({})


def test_every_public_url_counts_and_twice_is_once() -> None:
    urls = ("http://coat.example", "https://coat.example", "http://hat.example:1")
    assert _origins(*urls) == {"coat.example", "hat.example:1"}


def test_defaults_are_the_folders_own() -> None:
    settings = load_settings(None, {})
    store = StoreConfig(settings.data)
    assert settings.store_config() == store
    assert settings.daemon_config({}).gateway == GatewayConfig()
    assert settings.daemon_config({}).images == ImageWorkerConfig()
    shared = {item.name for item in fields(StoreConfig)} & Settings.model_fields.keys()
    assert shared == {
        *("lease_seconds", "prompt_seconds", "review_seconds", "quarantine_seconds"),
        *("max_blob_bytes", "min_free_bytes", "max_store_bytes"),
        *("upload_seconds", "max_uploads_per_tenant", "signed_url_seconds"),
    }


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "coatcheck.toml").write_text("port = 1\nhost = '127.0.0.2'\nmax_values = 7")
    monkeypatch.setenv("COATCHECK_PORT", "2")
    monkeypatch.setenv("COATCHECK_HOST", "127.0.0.3")
    settings = load_settings(None, {"port": 3})
    assert (settings.port, settings.host, settings.max_values) == (3, "127.0.0.3", 7)


def test_the_largest_image_and_its_workers_are_settings() -> None:
    images = Settings(image_workers=3, max_image_pixels=1_000).daemon_config({}).images
    assert (images.workers, images.budgets.max_pixels) == (3, 1_000)


@pytest.mark.parametrize(
    ("base_url", "is_own"),
    [
        ("http://127.0.0.1:8420/v1", True),
        ("http://localhost:8420/v1", True),
        ("http://[::1]:8420", True),
        ("https://coat.example/v1", True),
        ("http://127.0.0.1:8421/v1", False),
        ("http://other.example:8420/v1", False),
    ],
)
def test_an_upstream_that_is_this_server_itself_is_refused(base_url: str, is_own: bool) -> None:
    upstream = UpstreamSettings(name="u", base_url=base_url)
    settings = Settings(upstream=(upstream,), public_urls=("https://coat.example",))
    with pytest.raises(SettingsError) if is_own else contextlib.nullcontext():
        settings.daemon_config({})


@pytest.mark.parametrize("path", ["/proc/self/mem", "folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "coatcheck.toml").symlink_to(path)
    with pytest.raises(SettingsError, match=r"coatcheck\.toml cannot be read"):
        load_settings(None, {})


@pytest.mark.parametrize(("port", "is_own"), [(8420, True), (8421, False)])
def test_a_daemon_that_is_its_own_store_is_refused(port: int, is_own: bool) -> None:
    settings = Settings(port=port)
    with (
        pytest.raises(SettingsError, match="the store is this server itself")
        if is_own
        else contextlib.nullcontext()
    ):
        settings.remote_config({})


def _upstream_file(folder: Path, *lines: str) -> None:
    text = ["[[upstream]]", 'name = "far"', 'base_url = "http://far.example/v1"', *lines]
    (folder / "coatcheck.toml").write_text("\n".join(text), "utf-8")


def test_headers_of_an_upstream_are_texts_or_stand_in_the_environment(tmp_path: Path) -> None:
    _upstream_file(tmp_path, 'headers = { "X-Title" = "us", "api-key" = { env = "FAR_KEY" } }')
    settings = load_settings(None, {})
    (upstream,) = settings.daemon_config({"FAR_KEY": "secret"}).upstreams
    assert upstream.headers == (("X-Title", "us"), ("api-key", "secret"))
    assert "secret" not in repr(upstream)
    assert "X-Title" not in repr(settings)
    with pytest.raises(SettingsError, match=r"^upstream far: the environment has no FAR_KEY$"):
        settings.daemon_config({})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('headers = { "Content-Length" = "hidden" }', "Content-Length is not an upstream's to set"),
        ('headers = { "coatcheck-key" = "hidden" }', "coatcheck-key is not an upstream's to set"),
        ('headers = { "X-A" = "hidden\\r\\nX-B: c" }', "X-A has a value that no header may have"),
        ('headers = { "X-A" = 3 }', r"upstream.0.headers.X-A: .*must be a text, or"),
        ('headers = { "X-A" = { environment = "hidden" } }', "must be a text, or"),
        (
            'headers = { "Authorization" = "hidden" }\napi_key_env = "FAR_KEY"',
            "Authorization is set twice, or by api_key_env",
        ),
    ],
)
def test_a_header_that_may_not_be_set_is_named_at_the_start(
    tmp_path: Path, line: str, message: str
) -> None:
    _upstream_file(tmp_path, line)
    with pytest.raises(SettingsError, match=message) as refused:
        load_settings(None, {}).daemon_config({"FAR_KEY": "secret"})
    assert "hidden" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_every_patience_with_an_upstream_is_a_setting(tmp_path: Path) -> None:
    given = {"connect_seconds": 1, "first_byte_seconds": 2, "idle_seconds": 3, "total_seconds": 4}
    lines = [f"{name} = {seconds}" for name, seconds in given.items()]
    _upstream_file(tmp_path, "[upstream.timeouts]", *lines)
    (upstream,) = load_settings(None, {}).daemon_config({}).upstreams
    assert upstream.timeouts == Timeouts(**given)


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ("{}", ImagePolicy("provider", "keep", None)),
        ('{ fit = 1000, format = "webp", max_bytes = 500000 }', ImagePolicy(1000, "webp", 500_000)),
    ],
)
def test_an_upstreams_image_policy_is_a_table(
    tmp_path: Path, given: str, policy: ImagePolicy
) -> None:
    _upstream_file(tmp_path, f"images = {given}")
    settings = load_settings(None, {})
    (upstream,) = settings.daemon_config({}).upstreams
    assert upstream.images == policy
    variants = settings.variants_config(Path("data"))
    assert variants is not None
    assert (variants.folder, variants.max_bytes) == (Path("data/variants"), 1 << 30)


def test_without_a_policy_nothing_is_scaled() -> None:
    settings = Settings(upstream=(UpstreamSettings(name="u", base_url="http://far.example"),))
    assert settings.variants_config(Path("data")) is None
    assert settings.daemon_config({}).upstreams[0].images is None


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["images = { fit = 63 }"], r"upstream\.0\.images\.fit"),
        (["images = { fit = 1000.5 }"], r"upstream\.0\.images\.fit"),
        (['images = { fit = "1000x800" }'], r"upstream\.0\.images\.fit"),
        (['images = { format = "gif" }'], r"upstream\.0\.images\.format"),
        (["images = { max_bytes = 10 }"], r"upstream\.0\.images\.max_bytes"),
        (["images = { scale = 2 }"], r"upstream\.0\.images\.scale"),
        (["images = {}", 'mode = "pass"'], "mode 'pass' forwards what comes"),
    ],
)
def test_a_policy_that_cannot_be_is_named(tmp_path: Path, lines: list[str], place: str) -> None:
    _upstream_file(tmp_path, *lines)
    with pytest.raises(SettingsError, match=place):
        load_settings(None, {})


def test_history_is_the_upstreams_unless_it_is_left_to_us(tmp_path: Path) -> None:
    _upstream_file(tmp_path, 'dialect = "openai.responses"')
    assert load_settings(None, {}).daemon_config({}).upstreams[0].history == "upstream"
    _upstream_file(tmp_path, 'dialect = "openai.responses"', 'history = "coatcheck"')
    assert load_settings(None, {}).daemon_config({}).upstreams[0].history == "coatcheck"


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (['history = "coatcheck"'], "openai.chat has no ids"),
        (['history = "coatcheck"', 'mode = "observe"'], "mode 'observe' keeps nothing"),
        (['history = "provider"'], r"upstream\.0\.history"),
    ],
)
def test_history_that_cannot_be_kept_is_named(tmp_path: Path, lines: list[str], place: str) -> None:
    _upstream_file(tmp_path, *lines)
    with pytest.raises(SettingsError, match=place):
        load_settings(None, {})


_REMOTE = {"name": "coat", "base_url": "https://coat.example/v1", "reuse": "coatcheck"}
_PASSING = {"name": "far", "base_url": "https://far.example/v1", "mode": "pass"}


@pytest.mark.parametrize(
    ("given", "is_storeless"),
    [
        ({}, False),
        ({"remote": "https://coat.example"}, True),
        ({"upstream": [_REMOTE]}, True),
        ({"upstream": [_REMOTE, _PASSING]}, True),
        ({"upstream": [_PASSING]}, False),
        ({"upstream": [_REMOTE, _PASSING | {"mode": "on"}]}, False),
        ({"upstream": [_REMOTE, _PASSING | {"mode": "observe"}]}, False),
        ({"remote": "https://coat.example", "store": "https://store.example"}, False),
    ],
)
def test_an_edge_needs_no_store(given: dict[str, object], *, is_storeless: bool) -> None:
    settings = load_settings(None, given)
    assert settings.is_storeless is is_storeless
    assert settings.daemon_config({}).has_echo is not is_storeless


def test_a_remote_is_an_upstream_of_every_provider() -> None:
    key = f"cck_{'a' * 8}_{'k' * 40}"
    config = Settings(remote="https://coat.example").daemon_config({"COATCHECK_KEY": key})
    places = {each.provider.name: each.base_url for each in config.upstreams}
    assert places == {
        "openai": "https://coat.example/v1",
        "anthropic": "https://coat.example",
        "gemini": "https://coat.example",
        "dify": "https://coat.example",
    }
    for each in config.upstreams:
        assert each.is_edge
        assert each.credential == ("Coatcheck-Key", key)
        assert not each.replaces_key


def test_a_remote_that_is_this_server_itself_is_refused() -> None:
    with pytest.raises(SettingsError, match="remote"):
        Settings(remote="http://127.0.0.1:8420").daemon_config({})


@pytest.mark.parametrize(
    "own", [{"images": {}}, {"observe": True}, {"history": "coatcheck"}, {"max_piece_bytes": 1000}]
)
def test_what_is_a_remotes_to_set_is_refused_at_its_edge(own: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(own))):
        load_settings(None, {"upstream": [_REMOTE | own]})


def test_a_providers_key_for_a_remote_replaces_the_clients() -> None:
    upstream = UpstreamSettings.model_validate(_REMOTE | {"api_key_env": "KEY"})
    config = upstream.config({"KEY": "sk-far"})
    assert config.credential == ("Authorization", "Bearer sk-far")
    assert config.replaces_key


@pytest.mark.parametrize(
    ("reuse", "dialect"),
    [
        ("file-id", "openai.responses"),
        ("file-id", "anthropic.messages"),
        ("file-id", "gemini.generate"),
        ("uuid", "openai.chat"),
    ],
)
def test_a_reuse_mode_is_an_upstreams(tmp_path: Path, reuse: str, dialect: str) -> None:
    _upstream_file(tmp_path, f'reuse = "{reuse}"', f'dialect = "{dialect}"', "file_seconds = 7200")
    (upstream,) = load_settings(None, {}).daemon_config({}).upstreams
    assert (upstream.reuse, upstream.file_seconds) == (reuse, 7200)


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (['reuse = "magic"'], r"upstream\.0\.reuse"),
        (['reuse = "file-id"'], "'file-id' takes dialect openai.responses or"),
        (['reuse = "uuid"', 'dialect = "gemini.generate"'], "'uuid' takes dialect openai.chat"),
        (['reuse = "uuid"', 'mode = "observe"'], "mode 'observe' forwards what comes"),
        (["file_seconds = 3599"], r"upstream\.0\.file_seconds"),
    ],
)
def test_a_reuse_mode_that_cannot_be_is_named(tmp_path: Path, lines: list[str], place: str) -> None:
    _upstream_file(tmp_path, *lines)
    with pytest.raises(SettingsError, match=place):
        load_settings(None, {})
