"""wsgidav on cheroot: a folder on disk for one user, and below /open one for everybody."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    from cheroot.wsgi import Server
    from wsgidav.wsgidav_app import WsgiDAVApp

    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    (folder / "open").mkdir(exist_ok=True)
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder / "share"), "/open": str(folder / "open")},
            "simple_dc": {"user_mapping": {"*": {"toys": {"password": "of-toys"}}, "/open": True}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False},
            "verbose": 1,
        }
    )
    server = Server(("127.0.0.1", port), app, numthreads=8)
    server.prepare()
    (folder / f"ready-{os.getpid()}").touch()
    server.serve()


if __name__ == "__main__":
    main()
