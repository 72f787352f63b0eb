"""The plugin as Dify's plugin daemon installs it: a folder of its own with a virtual environment in it.

The folder is named as there (`author/name-version@checksum`). Its environment takes the packages of one
of `tests.clients`' environments by a `.pth`, so that it is made in no time and what a test puts into it
stays in it.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..clients.environments import Environment, require

_PLUGIN = Path(__file__).with_name("plugin")
_IDENTITY = "coatcheck/loopback"
_VERSION = "0.0.1"


@dataclass(frozen=True, slots=True)
class Installation:
    """A plugin that is ready to be started. `folder` is its working directory."""

    environment: Environment
    folder: Path

    @property
    def plugin_id(self) -> str:
        """What `X-Plugin-ID` says."""
        return _IDENTITY

    @property
    def unique_identifier(self) -> str:
        """What `X-Plugin-Unique-Identifier` says."""
        return f"{_IDENTITY}:{_VERSION}@{self.folder.name.partition('@')[2]}"

    @property
    def python(self) -> Path:
        """The interpreter of its own environment."""
        return self.folder / ".venv/bin/python"

    @property
    def site_packages(self) -> Path:
        """Where a `.pth` of its own environment would stand."""
        (found,) = self.folder.glob(".venv/lib/python*/site-packages")
        return found


def install_plugin(environment: Environment, root: Path) -> Installation:
    """Install the plugin below a folder. A second call over the same folder puts it there anew."""
    checksum = hashlib.sha256(environment.name.encode()).hexdigest()
    author, name = _IDENTITY.split("/")
    folder = root / author / f"{name}-{_VERSION}@{checksum}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_PLUGIN, folder, ignore=shutil.ignore_patterns("__pycache__"))
    made = require(environment)
    (packages,) = made.folder.glob("lib/python*/site-packages")
    own = folder / ".venv"
    (own / "bin").mkdir(parents=True)
    (own / "bin/python").symlink_to(made.python.resolve())
    shutil.copy(made.folder / "pyvenv.cfg", own)
    site = own / packages.relative_to(made.folder)
    site.mkdir(parents=True)
    (site / "packages.pth").write_text(f"{packages}\n", "utf-8")
    return Installation(environment, folder)
