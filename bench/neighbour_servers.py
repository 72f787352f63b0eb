"""The servers beside which ours is measured: nginx and docker-registry, as Debian packages them.

Each runs as a child process with its own configuration, in a folder of the bench, on loopback; what
is installed as a service is left alone.
"""

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from .server_process import ServerProcess

_PACKAGES = {"nginx": "nginx-light", "docker-registry": "docker-registry"}
_SYSTEM_FOLDERS = "/usr/sbin:/sbin"  # where Debian has nginx, and not every user looks

_NGINX = """
daemon off;
worker_processes auto;
pid {folder}/pid;
{user}
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {folder}/temporary/body;
    proxy_temp_path {folder}/temporary/proxy;
    fastcgi_temp_path {folder}/temporary/fastcgi;
    uwsgi_temp_path {folder}/temporary/uwsgi;
    scgi_temp_path {folder}/temporary/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        location / {{ dav_methods PUT; }}
    }}
}}
"""

_REGISTRY = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{cache: {{blobdescriptor: inmemory}}, filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}", secret: bench}}
"""


def missing_neighbours(path: str | None = None) -> Sequence[str]:
    """Return the Debian packages whose programs are not here, or not in the folders of `path`."""
    return [package for program, package in _PACKAGES.items() if _find(program, path) is None]


def nginx(folder: Path) -> ServerProcess:
    """Describe an nginx that takes PUT and answers GET from files."""
    home = folder / "nginx"
    for name in ("files", "temporary"):
        (home / name).mkdir(parents=True)
    port = _free_port()
    config = home / "nginx.conf"
    # Its workers would be another user, who may not enter the bench's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_NGINX.format(folder=home, port=port, user=user))
    log = folder / "nginx.log"
    command = [_program("nginx"), "-e", str(log), "-p", str(home), "-c", str(config)]
    return ServerProcess(command, cwd=folder, log=log, port=port)


def registry(folder: Path) -> ServerProcess:
    """Describe a docker-registry that keeps blobs as files, with its cache of descriptors."""
    port = _free_port()
    config = folder / "registry.yml"
    config.write_text(_REGISTRY.format(folder=folder / "registry", port=port))
    command = [_program("docker-registry"), "serve", str(config)]
    return ServerProcess(command, cwd=folder, log=folder / "registry.log", port=port)


def _program(name: str) -> str:
    return _find(name) or name


def _find(name: str, path: str | None = None) -> str | None:
    return shutil.which(name, path=path or f"{os.environ.get('PATH', '')}:{_SYSTEM_FOLDERS}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
