"""Start and stop the pages' server process, and make links into it."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasites.errors import SettingsError
from datasites.private import open_private_log
from ui.errors import DoorError
from ui.web.manifest import MANIFEST_VARIABLE, read_manifest

if TYPE_CHECKING:
    from ui.web.doors.roles import Role

__all__ = [
    "HOST",
    "address_of",
    "cookie_name",
    "doors_beside",
    "ending_on_sigterm",
    "free_port",
    "link_to",
    "start_server",
    "stop_server",
    "wait_ready",
]

HOST = "127.0.0.1"
WEB = Path(__file__).parent
STOP_SECONDS = 10.0
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Every setting is given here, so that no settings file of the user or of the folder where the
# command runs can open the server to a network or make it phone home.
STREAMLIT: dict[str, Any] = {
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.enableStaticServing": False,
    "server.enableAgentApi": False,
    "server.scriptHealthCheckEnabled": False,
    "server.trustedUserHeaders": {},
    "server.maxUploadSize": 64,
    "server.baseUrlPath": "",
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "runner.magicEnabled": False,
    "global.developmentMode": False,
    "logger.level": "warning",
    "logger.hideWelcomeMessage": True,
}


def doors_beside(manifest: Path) -> Path:
    """Where the links and sessions of a marketplace lie."""
    return Path(manifest).resolve().parent / "doors.sqlite3"


def cookie_name(port: int, *, secure: bool) -> str:
    """The session cookie's name: browsers do not keep ports apart, so the name does."""
    return "__Host-toyfed" if secure else f"toyfed-{port}"


def start_server(
    manifest: Path,
    port: int,
    *,
    doors: Path | None = None,
    log: Path | None = None,
    host: str = HOST,
    sign_in: Path | None = None,
    certificate: tuple[Path, Path] | None = None,
    photos_from: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start the pages in a process of their own.

    Args:
        manifest: what to show; read again at every click, so it may change.
        port: a free port.
        doors: the file of links and sessions; beside the manifest if None.
        log: where the server's messages go; None leaves them where ours go.
        host: address to listen at; others than loopback need `sign_in`.
        sign_in: the private file for OpenID Connect.
        certificate: files of the certificate and its key, for https by this process itself.
        photos_from: hosts that browsers may ask for photographs of toys; none draws all pictures.

    Raises:
        SettingsError: the manifest cannot be used, or the port is taken.
        DoorError: the address is open to others, and nobody would be asked who they are; or the
            file for sign-in cannot be used.
    """
    from ui.web.server import ServerSettings

    merchants = read_manifest(manifest).merchants
    _refuse_open_address(host, sign_in)
    if sign_in is not None:
        from ui.web.doors.oidc import read_sign_in, refuse_strangers

        refuse_strangers(read_sign_in(sign_in), merchants)
    _refuse_taken_port(host, port)
    doors = doors or doors_beside(manifest)
    settings = ServerSettings(
        manifest=Path(manifest).resolve(),
        doors=doors,
        host=host,
        port=port,
        sign_in=sign_in,
        certificate=certificate[0] if certificate else None,
        certificate_key=certificate[1] if certificate else None,
        photos_from=tuple(photos_from),
        streamlit=STREAMLIT | {"server.address": host, "server.port": port} | _theme(),
    )
    if sign_in is None:
        from ui.web.doors.store import DoorStore

        DoorStore(doors).address = address_of(port)
    # One answer is too small to be shared out: threads that wait for one another tripled the
    # work (measured). Whoever sets the variables knows better.
    inherited = dict.fromkeys(THREADS, "1")
    inherited |= {name: value for name, value in os.environ.items() if _harmless(name)}
    with contextlib.ExitStack() as files:
        output = files.enter_context(open_private_log(log)) if log else None
        server = subprocess.Popen(
            [sys.executable, "-m", "ui.web.server"],
            env=inherited | {MANIFEST_VARIABLE: str(settings.manifest)},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
        assert server.stdin is not None
        with contextlib.suppress(BrokenPipeError), server.stdin:
            server.stdin.write(settings.model_dump_json().encode())
        return server


def link_to(
    doors: Path,
    role: Role,
    *,
    merchant: Path | None = None,
    shopper: str | None = None,
    seconds: float | None = None,
) -> str:
    """A new one-time link into the page that uses this file of doors.

    Raises: DoorError if no page was opened there by link.
    """
    from ui.web.doors.store import LINK_SECONDS, DoorStore

    store = DoorStore(doors)
    address = store.address
    if address is None:
        raise DoorError(
            "expected a page that was opened here, found none. Start it with `toyfed web` first."
        )
    secret = store.new_link(
        role, merchant=merchant, shopper=shopper, seconds=seconds or LINK_SECONDS
    )
    return f"{address}/sign-in#{secret}"


def _refuse_open_address(host: str, sign_in: Path | None) -> None:
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise DoorError(
            f"expected an IP address to listen at, found {host!r}. Try 127.0.0.1."
        ) from None
    if not is_loopback and sign_in is None:
        raise DoorError(
            f"expected sign-in by OpenID Connect for the address {host}, found none: links are "
            "for this machine alone, since anybody on the way could take them. "
            "Name its settings with --sign-in FILE (docs/sign-in.md), or leave --address out."
        )


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise SettingsError(
                f"expected port {port} to be free, found it taken. Choose another with --port."
            ) from None


def wait_ready(
    port: int, *, seconds: float = 60.0, process: subprocess.Popen[bytes] | None = None
) -> None:
    """Wait until the server answers. Raises SettingsError if it ends or stays silent."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise SettingsError(f"the web server ended at once with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{address_of(port)}/healthz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.HTTPError, http.client.RemoteDisconnected):
            # Served under another name or by https alone: that it refuses us is an answer.
            return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    raise SettingsError(f"expected the web server to answer within {seconds:g} s; it did not")


def stop_server(server: subprocess.Popen[bytes]) -> None:
    """End a server that `start_server` started; safe to call again."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def address_of(port: int) -> str:
    """The pages' address."""
    return f"http://{HOST}:{port}"


def free_port() -> int:
    """A port that is free just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that the server does not outlive the command."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _harmless(name: str) -> bool:
    return not name.startswith("STREAMLIT_")


def _theme() -> dict[str, Any]:
    """The theme file's settings under Streamlit's names."""

    def flat(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from flat(f"{prefix}{name}.", value)
            else:
                yield f"{prefix}{name}", value

    return dict(flat("", tomllib.loads((WEB / "theme.toml").read_text(encoding="utf-8"))))
