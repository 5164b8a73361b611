"""`toyfed web`: the pages, on this machine alone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from datasites.errors import SettingsError
from ui.cli.console import console, guarded

__all__ = [
    "address_of",
    "ending_on_sigterm",
    "free_port",
    "start_server",
    "stop_server",
    "wait_ready",
    "web",
]

HOST = "127.0.0.1"
WEB = Path(__file__).parent.parent / "web"
STOP_SECONDS = 10.0
# Every setting is given here, so that no settings file of the user or of the folder where the
# command runs can open the server to a network or make it phone home.
FLAGS: dict[str, str | list[str]] = {
    "server.address": HOST,
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.allowedHosts": [HOST, "localhost"],
    "server.enableStaticServing": "false",
    "server.enableAgentApi": "false",
    "server.maxUploadSize": "1",
    "server.baseUrlPath": "",
    "browser.gatherUsageStats": "false",
    "browser.serverAddress": HOST,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "minimal",
    "runner.magicEnabled": "false",
    "global.developmentMode": "false",
    "logger.level": "warning",
    "logger.hideWelcomeMessage": "true",
}


@guarded
def web(
    marketplace: Annotated[
        Path | None, typer.Option(help="A marketplace manifest, as `toyfed demo` writes it.")
    ] = None,
    datasite: Annotated[
        list[Path] | None, typer.Option(help="A merchant's home folder. Repeatable.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="A report for the Insights page.")] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8501,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Show the pages for shoppers, merchants and analysts; this machine alone can reach them."""
    if (marketplace is None) == (not datasite):
        raise typer.BadParameter("expected either --marketplace FILE or --datasite HOME")
    with _manifest(marketplace, datasite or [], report) as manifest, ending_on_sigterm():
        server = start_server(manifest, port := port or free_port())
        try:
            wait_ready(port, process=server)
            console.print(f"ToyFed is open at [bold]{address_of(port)}[/]; Ctrl-C stops.")
            if browser:
                typer.launch(address_of(port))
            server.wait()
        except KeyboardInterrupt:
            console.print("Stopped.")
        finally:
            stop_server(server)
    if server.returncode not in (0, None, -2, -15, 130):
        raise SettingsError(f"the web server ended with code {server.returncode}; see above why")


@contextlib.contextmanager
def _manifest(marketplace: Path | None, homes: list[Path], report: Path | None) -> Iterator[Path]:
    from ui.web.manifest import Manifest, read_manifest, write_manifest

    if marketplace is not None:
        found = read_manifest(marketplace)
    else:
        from datasites.merchant.home import MerchantHome

        found = Manifest(merchants=tuple(MerchantHome.open(home).root for home in homes))
    if report is not None:
        found = found.model_copy(update={"report": report.resolve()})
    with tempfile.TemporaryDirectory(prefix="toyfed-web-") as folder:
        write_manifest(Path(folder) / "marketplace.json", found)
        yield Path(folder) / "marketplace.json"


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


def start_server(manifest: Path, port: int, *, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start the pages in a process of their own, reachable from this machine alone.

    Args:
        manifest: what to show; read again at every click, so it may change.
        port: a free port.
        log: where the server's messages go; None leaves them where ours go.

    Raises: SettingsError if the manifest cannot be used or the port is taken.
    """
    from ui.web.manifest import MANIFEST_VARIABLE, read_manifest

    read_manifest(manifest)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise SettingsError(
                f"expected port {port} to be free, found it taken. Choose another with --port."
            ) from None
    flags = FLAGS | {"server.port": str(port)} | _theme()
    command = [sys.executable, "-m", "streamlit", "run", str(WEB / "app.py")]
    for name, value in flags.items():
        values = value if isinstance(value, list) else [value]
        command += [f"--{name}={one}" for one in values]
    inherited = {name: value for name, value in os.environ.items() if _harmless(name)}
    with contextlib.ExitStack() as files:
        output = files.enter_context(log.open("ab")) if log else None
        return subprocess.Popen(
            command,
            env=inherited | {MANIFEST_VARIABLE: str(Path(manifest).resolve())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def wait_ready(
    port: int, *, seconds: float = 60.0, process: subprocess.Popen[bytes] | None = None
) -> None:
    """Wait until the server answers. Raises SettingsError if it ends or stays silent."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise SettingsError(f"the web server ended at once with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{address_of(port)}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
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


def _harmless(name: str) -> bool:
    return not name.startswith("STREAMLIT_")


def _theme() -> dict[str, str | list[str]]:
    """The theme file's settings under Streamlit's names."""

    def flat(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, str | list[str]]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from flat(f"{prefix}{name}.", value)
            else:
                yield f"{prefix}{name}", value

    return dict(flat("", tomllib.loads((WEB / "theme.toml").read_text(encoding="utf-8"))))
