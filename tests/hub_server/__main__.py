"""Start the local Hub for trying things by hand: `python -m tests.hub_server`."""

from __future__ import annotations

import argparse
import contextlib
import threading
from pathlib import Path

from .connection import LoggedRequest
from .server import HubServer


def _print(row: LoggedRequest) -> None:
    fault = f" [{row.fault}]" if row.fault else ""
    who = row.user or "-"
    print(f"{row.method} {row.path} {row.status} in={row.received} out={row.sent} {who}{fault}", flush=True)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.hub_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="port of 127.0.0.1, 0 for any free one")
    parser.add_argument("--root", type=Path, default=Path("hub-data"), help="folder that keeps the state")
    parser.add_argument("--user", default="demo", help="name of the demo user")
    parser.add_argument("--token", default="hf_demo", help="access token of the demo user")
    options = parser.parse_args()
    with HubServer(options.root, options.port, watch=_print) as server:
        server.add_user(options.user, options.token)
        print(f"export HF_ENDPOINT={server.endpoint}\nexport HF_TOKEN={options.token}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
