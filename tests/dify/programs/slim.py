"""The remote half of Dify's slim binary, on the standard library alone (pkg/slim/remote.go, output.go).

`<bin> -id ID -action ACTION` with `{"data": ..}` on standard input, SLIM_DAEMON_ADDR and
SLIM_DAEMON_KEY in the environment. Each frame of the daemon's answer becomes one event line, as it is.
"""

import http.client
import json
import os
import sys
from urllib.parse import urlsplit

PATHS = {"invoke_llm": "/llm/invoke", "get_llm_num_tokens": "/llm/num_tokens"}


def say(event: str, data: object = None) -> None:
    print(json.dumps({"event": event, "data": data}), flush=True)


def main() -> int:
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    asked = sys.stdin.buffer.read()
    daemon = urlsplit(os.environ["SLIM_DAEMON_ADDR"])
    assert daemon.hostname
    connection = http.client.HTTPConnection(daemon.hostname, daemon.port, timeout=600)
    headers = {
        "Content-Type": "application/json",
        "X-Api-Key": os.environ["SLIM_DAEMON_KEY"],
        "X-Plugin-Unique-Identifier": options["-id"],
    }
    path = f"{daemon.path.rstrip('/')}/v2/invoke/dispatch{PATHS[options['-action']]}"
    connection.request("POST", path, asked, headers)
    response = connection.getresponse()
    if response.status != 200:
        said = response.read().decode()
        say("error", {"code": "DAEMON_ERROR", "message": f"status {response.status}: {said}"})
        return 1
    say("message", {"stage": "invoke", "message": "sent"})
    for line in response:
        if line.startswith(b"data: "):
            sys.stdout.write(f'{{"event":"chunk","data":{line[6:].decode().strip()}}}\n')
            sys.stdout.flush()
    say("done")
    return 0


sys.exit(main())
