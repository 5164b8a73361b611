"""moto's S3 over HTTP, with one bucket. Its objects are in memory, so a killed one forgets."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path


def main() -> None:
    from moto.server import ThreadedMotoServer

    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
        region_name="us-east-1",
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            client.create_bucket(Bucket="toys")
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    (folder / f"ready-{os.getpid()}").touch()
    threading.Event().wait()


if __name__ == "__main__":
    main()
