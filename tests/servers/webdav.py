"""wsgidav on cheroot, with one user and a folder on disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    from cheroot.wsgi import Server
    from wsgidav.wsgidav_app import WsgiDAVApp

    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder / "share")},
            "simple_dc": {"user_mapping": {"*": {"toys": {"password": "of-toys"}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False},
            "verbose": 1,
        }
    )
    server = Server((os.environ.get("TOYFED_TEST_HOST", "127.0.0.1"), port), app, numthreads=8)
    server.prepare()
    (folder / f"ready-{os.getpid()}").touch()
    server.serve()


if __name__ == "__main__":
    main()
