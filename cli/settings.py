"""What a server can be told. `settings_sources.py` says where it comes from.

Each limit carries its unit in its name; the reasons for the defaults stand with the folders' own
configurations.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    SettingsConfigDict,
)

from coatcheck.api import ApiConfig
from coatcheck.daemon import (
    CacheConfig,
    DaemonConfig,
    GatewayConfig,
    RemoteConfig,
    TurnLimits,
    UpstreamConfig,
)
from coatcheck.protocol import DIALECTS, is_tenant
from coatcheck.store import ImageWorkerConfig, MaintenanceConfig, Quotas, StoreConfig
from coatcheck.web import is_loopback_host

from .authority import authority
from .daemon_key import daemon_key
from .errors import SettingsError
from .upstream_settings import UpstreamSettings

DEFAULT_STORE = "http://127.0.0.1:8420"

# Where the defaults of limits come from: they stand there with their reasons.
_STORE: Final = StoreConfig(data_folder=None)
_MAINTENANCE: Final = MaintenanceConfig()
_GATEWAY: Final = GatewayConfig()
_CACHE: Final = CacheConfig(Path())
_IMAGES: Final = ImageWorkerConfig()


def _checked(url: str) -> str:
    authority(url)
    return url.removesuffix("/")


Origin: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""`http(s)://host[:port]`, where clients reach this server."""


class Settings(BaseSettings):
    """Everything that `coatcheck serve` can be told."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="COATCHECK_")

    host: str = "127.0.0.1"
    port: int = Field(default=8420, ge=0, le=65535)
    uds: Path | None = None
    workers: int | None = Field(default=None, ge=1, le=64)
    data: Path = Path("coatcheck-data")
    store: Origin | None = None
    remote: Origin | None = None
    cache: Path = Path("coatcheck-cache")
    max_cache_bytes: int = Field(default=_CACHE.max_bytes, gt=0)
    key_file: Path | None = None
    public_urls: tuple[Origin, ...] = ()
    lease_seconds: int = Field(default=_STORE.lease_seconds, gt=0)
    prompt_seconds: int = Field(default=_STORE.prompt_seconds, gt=0)
    max_blob_bytes: int = Field(default=_STORE.max_blob_bytes, gt=0)
    min_free_bytes: int = Field(default=_STORE.min_free_bytes, ge=0)
    max_store_bytes: int | None = Field(default=None, gt=0)
    tenant_quota_bytes: int | None = Field(default=None, ge=0)
    tenant_quotas: Mapping[str, int] = Field(default_factory=dict[str, int])
    sweep_seconds: float = Field(default=_MAINTENANCE.sweep_seconds, gt=0)
    scrub_days: float = Field(default=30, ge=0)
    review_seconds: int = Field(default=_STORE.review_seconds, ge=0)
    quarantine_seconds: int = Field(default=_STORE.quarantine_seconds, ge=0)
    signed_url_seconds: int = Field(default=_STORE.signed_url_seconds, gt=0)
    upload_seconds: int = Field(default=_STORE.upload_seconds, gt=0)
    max_uploads_per_tenant: int = Field(default=_STORE.max_uploads_per_tenant, gt=0)
    max_request_bytes: int = Field(default=_GATEWAY.max_request_bytes, gt=0)
    max_upstream_bytes: int = Field(default=_GATEWAY.max_upstream_bytes, gt=0)
    max_values: int = Field(default=_GATEWAY.turn.max_values, gt=0)
    max_attachments: int = Field(default=_GATEWAY.turn.max_attachments, gt=0)
    image_workers: int = Field(default=_IMAGES.workers, ge=1, le=16)
    max_variant_bytes: int = Field(default=1024**3, gt=0)
    max_image_pixels: int = Field(default=_IMAGES.budgets.max_pixels, gt=0)
    drain_seconds: float = Field(default=10.0, ge=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    upstream: tuple[UpstreamSettings, ...] = ()

    @field_validator("tenant_quotas")
    @classmethod
    def _names_tenants(cls, quotas: Mapping[str, int]) -> Mapping[str, int]:
        for tenant, quota in quotas.items():
            if not is_tenant(tenant):
                raise ValueError(f"no name of a tenant: {tenant!r}")
            if quota < 0:
                raise ValueError(f"{tenant}: a quota is a number of bytes, not {quota}")
        return quotas

    @property
    def store_url(self) -> str:
        """The origin of a daemon's store."""
        return self.store or DEFAULT_STORE

    @property
    def is_storeless(self) -> bool:
        """Whether a daemon needs no store: turns are its remotes' to read, or nobody's on this side."""
        are_read = [each.mode != "pass" and each.reuse != "coatcheck" for each in self.upstream]
        has_remote = self.remote or any(each.reuse == "coatcheck" for each in self.upstream)
        return self.store is None and bool(has_remote) and not any(are_read)

    def store_config(self) -> StoreConfig:
        """Return what the store is told."""
        return StoreConfig(
            data_folder=self.data,
            lease_seconds=self.lease_seconds,
            prompt_seconds=self.prompt_seconds,
            max_blob_bytes=self.max_blob_bytes,
            min_free_bytes=self.min_free_bytes,
            max_store_bytes=self.max_store_bytes,
            quotas=Quotas(self.tenant_quota_bytes, self.tenant_quotas),
            review_seconds=self.review_seconds,
            quarantine_seconds=self.quarantine_seconds,
            signed_url_seconds=self.signed_url_seconds,
            upload_seconds=self.upload_seconds,
            max_uploads_per_tenant=self.max_uploads_per_tenant,
        )

    def api_config(self) -> ApiConfig:
        """Return what the store's face is told."""
        return ApiConfig(public_origin=self.public_urls[0] if self.public_urls else None)

    def maintenance_config(self) -> MaintenanceConfig:
        """Return what the store does by itself."""
        return MaintenanceConfig(
            sweep_seconds=self.sweep_seconds,
            scrub_seconds=self.scrub_days * 86400 or None,
        )

    def remote_config(self, environment: Mapping[str, str]) -> RemoteConfig:
        """Return what a daemon is told of its store; the key is in a file, or the environment.

        Raises:
            SettingsError: the file cannot be read, or holds no key, or the store is this server
                itself.
        """
        if self._is_own(self.store_url):
            raise SettingsError("the store is this server itself: see `store` and `port`")
        return RemoteConfig(
            store_url=self.store_url,
            cache=CacheConfig(
                self.cache, max_bytes=self.max_cache_bytes, min_free_bytes=self.min_free_bytes
            ),
            key=daemon_key(self.key_file, environment),
            max_blob_bytes=self.max_blob_bytes,
        )

    @staticmethod
    def variants_folder(folder: Path) -> Path:
        """Return where smaller images are kept, in the data folder or the cache."""
        return folder / "variants"

    def variants_config(self, folder: Path) -> CacheConfig | None:
        """Return how smaller images are kept, in a folder that is there; None: nobody wants any."""
        if not any(item.images for item in self.upstream):
            return None
        return CacheConfig(
            self.variants_folder(folder),
            max_bytes=self.max_variant_bytes,
            min_free_bytes=self.min_free_bytes,
        )

    def daemon_config(self, environment: Mapping[str, str]) -> DaemonConfig:
        """Return what the daemon is told, the upstreams' keys taken from the environment.

        Raises:
            SettingsError: an upstream names a variable that is not set, or a header that is not its
                to set, or is this server itself.
        """
        for item in self.upstream:
            if any(map(self._is_own, item.urls)):
                raise SettingsError(f"upstream {item.name}: its base_url is this server itself")
        own = (item.config(environment) for item in self.upstream)
        return DaemonConfig(
            upstreams=(*own, *self._remotes(environment)),
            has_echo=not self.is_storeless,
            gateway=GatewayConfig(
                max_request_bytes=self.max_request_bytes,
                max_upstream_bytes=self.max_upstream_bytes,
                turn=TurnLimits(self.max_values, self.max_attachments),
                public_origins=frozenset(map(authority, self.public_urls)),
            ),
            images=ImageWorkerConfig.of(
                workers=self.image_workers, max_pixels=self.max_image_pixels
            ),
        )

    def _remotes(self, environment: Mapping[str, str]) -> Iterator[UpstreamConfig]:
        """Yield the daemon at `remote` as an upstream of every provider, asked with our key there."""
        if self.remote is None:
            return
        if self._is_own(self.remote):
            raise SettingsError("the remote is this server itself: see `remote` and `port`")
        key = daemon_key(self.key_file, environment)
        first = {spoken.provider.name: spoken for spoken in reversed(list(DIALECTS.values()))}
        for provider, spoken in first.items():
            yield UpstreamConfig(
                name=f"remote.{provider}",
                dialect=spoken.name,
                base_url=self.remote + spoken.provider.base_path,
                api_key=key,
                reuse="coatcheck",
            )

    def check_reach(self) -> None:
        """Return when upstreams that are to fetch blobs from this server know where it is.

        Raises:
            SettingsError: one does not.
        """
        for item in self.upstream:
            if item.reuse == "url" and not self.public_urls:
                raise SettingsError(
                    f"upstream {item.name}: reuse 'url' takes a public_urls by which it reaches us"
                )

    def _is_own(self, url: str) -> bool:
        """Whether a URL leads to the address served, or a public one: requests would circle."""
        host, port = _place(url)
        is_here = host == self.host or (is_loopback_host(host) and _serves_loopback(self.host))
        return (is_here and port == self.port) or (host, port) in map(_place, self.public_urls)


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _serves_loopback(host: str) -> bool:
    return is_loopback_host(host) or host in ("0.0.0.0", "::")
