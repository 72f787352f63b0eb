"""Where settings come from: flags, then `COATCHECK_*`, then `coatcheck.toml`, then defaults.

The only place that reads the environment for a server.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from .errors import SettingsError
from .settings import Settings

DEFAULT_FILE = Path("coatcheck.toml")
_NO_DEFAULTS: Mapping[str, object] = MappingProxyType({})


def load_settings(
    config: Path | None,
    flags: Mapping[str, object],
    defaults: Mapping[str, object] = _NO_DEFAULTS,
) -> Settings:
    """Read the settings; `flags` are those the user gave, by field name.

    `defaults` count where nobody gave anything.

    Without `config`, `coatcheck.toml` in the working directory is read if it is there.

    Raises:
        SettingsError: the file is missing or malformed, or a value is not allowed.
    """
    if config is not None and not config.is_file():
        raise SettingsError(f"no settings file {config}")
    path = config or DEFAULT_FILE
    in_file = _read(path)

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            from_file = InitSettingsSource(settings_cls, in_file)
            last = InitSettingsSource(settings_cls, dict(defaults))
            return init_settings, env_settings, from_file, last

    try:
        return FromFile.model_validate(dict(flags))
    except ValidationError as error:
        source = f" ({path})" if in_file else ""
        raise SettingsError(f"settings{source}: {_complaints(error)}") from error


def _complaints(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
        for item in error.errors(include_url=False)
    )


def _read(path: Path) -> dict[str, Any]:
    """Return what the file says, or nothing where there is none.

    Raises:
        SettingsError: it cannot be read, or is not TOML; inside pydantic that would name a field.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def environment() -> Mapping[str, str]:
    """Return the process's environment, for what settings name in it."""
    return os.environ
