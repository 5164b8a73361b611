"""An SFTP server with a host key that stays the same across restarts."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import asyncssh


class _OneUser(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("toys", "of-toys")


async def serve(port: int, folder: Path) -> None:
    file = folder / "host_key"
    if not file.exists():
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(file))
    key = asyncssh.read_private_key(str(file))
    public = key.export_public_key().decode().strip()
    known = folder / "known_hosts"
    if not known.exists():
        known.write_text(f"[127.0.0.1]:{port} {public}\n")
    await asyncssh.listen(
        "127.0.0.1",
        port,
        server_factory=_OneUser,
        server_host_keys=[key],
        sftp_factory=asyncssh.SFTPServer,
        reuse_address=True,
    )
    (folder / f"ready-{os.getpid()}").touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
