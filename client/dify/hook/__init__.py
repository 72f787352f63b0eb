"""Refs become base64 inside a Dify plugin: this folder, copied, and nothing else.

`coatcheck dify install-hook` copies it into the virtual environment of a plugin as
`coatcheck_dify_hook`, where a line in a `.pth` file calls `install`. Authors of plugins may have it by
two lines in their `main.py`, after `from dify_plugin import ...` and before `Plugin(...)`, with the
folder beside it under that name:

    import coatcheck_dify_hook
    coatcheck_dify_hook.install("/etc/coatcheck/dify-hook.json")

or, where Coatcheck is installed, with `from coatcheck.client.dify import hook`.

What it keeps true:

1. At the start of an interpreter it imports this file alone and opens nothing. It waits for the
   SDK's `PluginExecutor`, and no process fails because of it.
2. It writes to a copy of the request. What an SDK echoes of prompt messages (0.1.0 does, in each
   chunk) is taken out of the answer.
3. No byte reaches the plugin that is not what the digest names. Of a blob there is its base64 in
   memory, once however often it is named, and a piece of its bytes.
4. A request without refs is not looked at further: neither the configuration nor the daemon is.
5. All of it ends within `total_seconds`. A connection belongs to one thread, or greenlet: the SDK
   replaces threads and sockets by gevent's, so everything here blocks.
6. A plugin's code has real base64 and never a stand-in for it: `splice` has the conditions.

Parts: `executor` wraps what takes prompt messages; `prompt` finds refs in them; `fetch` gets blobs,
by `copies` or by `line`; `splice` and `body` keep the SDK from copying them on their way out.

The configuration is JSON, read anew for each request that has refs:

    socket            path of the daemon's Unix socket; or
    daemon            its origin, http://host:port
    key               its key there, where there are keys; `read` is scope enough
    cache             folder of the daemon's copies, looked at before the daemon is asked, if one is
                      named. No grant is asked for there: for installations of one tenant alone
    connect_seconds   5
    total_seconds     60, for all refs of one request
    max_blob_bytes    536870912
    splice            true; false leaves the SDK's own requests and counting as they are

The key's tenant must hold each blob. Whatever workspace of Dify a plugin works for, it is that tenant.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any  # of the SDK, which is not here

__all__ = ["CONFIG_NAME", "check_config", "install"]

CONFIG_NAME = "coatcheck_dify_hook.json"
"""What the configuration beside this file is called."""

_EXECUTOR = "dify_plugin.core.plugin_executor"
_MARK = "waits_for_dify_plugin"


def install(config: str | os.PathLike[str] | None = None) -> None:
    """Have refs resolved from now on. May be called twice; the first call's configuration stays.

    `config` is a path; without it the file is beside this one. It need not be there yet.
    """
    path = os.fspath(config) if config else os.path.join(os.path.dirname(__file__), CONFIG_NAME)
    module = sys.modules.get(_EXECUTOR)
    if module is not None:
        _attach(module, path)
    elif not any(hasattr(finder, _MARK) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(path))


def check_config(given: Mapping[str, object]) -> None:
    """Return when that is a configuration.

    Raises:
        ValueError: it is none; the message says why, and repeats no value.
    """
    from .config import Config

    Config(dict(given))


class _Finder:
    """Finds one module as the others do, and sees to it that it is attached to."""

    def __init__(self, config: str) -> None:
        self._config = config
        setattr(self, _MARK, True)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if name != _EXECUTOR:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    loader: Any = _Loader(spec.loader, self._config)
                    spec.loader = loader
                return spec
        return None


class _Loader:
    """Stands for a module's own loader, which the module has back before it runs."""

    def __init__(self, loader: Any, config: str) -> None:
        self._loader = loader
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _attach(module, self._config)


def _attach(module: ModuleType, config: str) -> None:
    """Wrap what takes prompt messages, once."""
    try:
        from .executor import attach
    except ImportError as error:  # such as a file that is just being replaced
        sys.stderr.write(f"coatcheck: {error}, so refs stay refs\n")
    else:
        attach(module, config)
