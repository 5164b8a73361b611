"""The pages' server process: Streamlit's application behind the gate, with the API beside it.

Streamlit 1.67 is an ASGI application that takes routes and middleware (`st.App`), so that pages,
doors and API are one process on one port; uvicorn serves it with settings of our own.
Started by `ui.web.launch` as `python -m ui.web.server`, with its settings on standard input: a
command line can be read by everybody on the machine.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ui.web.manifest import MANIFEST_VARIABLE, read_manifest

if TYPE_CHECKING:
    import uvicorn
    from starlette.responses import Response
    from starlette.types import Scope

    from datasites.merchant.home import MerchantHome

__all__ = ["ServerSettings", "build", "main"]

APP = Path(__file__).with_name("app.py")
PHOTO_HOST = r"^[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(:[0-9]{1,5})?$"
MOST_CONNECTIONS = 512
QUIET_SECONDS = 20
MOST_HEAD = 32 * 1024
MOST_MESSAGE = 8 * 1024 * 1024


class ServerSettings(BaseModel):
    """How a server is started.

    Args:
        manifest: what to show.
        doors: the file of links and sessions.
        host, port: where to listen.
        sign_in: the private file for OpenID Connect; None signs in by link, on loopback alone.
        certificate, certificate_key: for https by this process itself.
        photos_from: hosts of photographs of toys.
        streamlit: Streamlit's own settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest: Path
    doors: Path
    host: str
    port: int
    sign_in: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    photos_from: tuple[Annotated[str, Field(pattern=PHOTO_HOST)], ...] = ()
    streamlit: dict[str, Any]


def build(settings: ServerSettings) -> uvicorn.Server:
    """Put the application together. Raises DoorError or SettingsError."""
    import streamlit as st
    import uvicorn
    from starlette.middleware import Middleware
    from streamlit.web import bootstrap

    from ui.api import OPEN_PATHS as API_PATHS
    from ui.api import OPEN_PREFIXES, Api, api_routes
    from ui.web.cards import PHOTOS_VARIABLE
    from ui.web.doors import COOKIE_VARIABLE, DOORS_VARIABLE, DoorStore, Role, oidc
    from ui.web.doors.gate import Gate, GateSettings
    from ui.web.doors.pages import OPEN_PATHS, door_routes, set_session
    from ui.web.launch import cookie_name
    from ui.web.patience import PatientProtocol

    table = oidc.read_sign_in(settings.sign_in) if settings.sign_in else None
    store = DoorStore(settings.doors)
    if not read_manifest(settings.manifest).simulation:
        store.end_role(Role.DEMO)
    hosts = {"127.0.0.1", "localhost", "::1"} if table is None else {table.provider.host}
    cookie = cookie_name(settings.port, secure=table is not None)

    def let_in(response: Response, secret: str) -> None:
        set_session(response, gate, secret)

    def end_word(scope: Scope, response: Response) -> None:
        if table is not None:
            oidc.word_spender(store, table)(scope)
            oidc.take_away(scope, response)

    gate = GateSettings(
        hosts=frozenset(hosts),
        cookie=cookie,
        secure=table is not None,
        open_paths=OPEN_PATHS | API_PATHS | (oidc.OIDC_PATHS if table else frozenset()),
        open_prefixes=OPEN_PREFIXES,
        newcomer=oidc.newcomer(store, table, _merchants, let_in) if table else lambda _scope: None,
        photo_hosts=frozenset(settings.photos_from),
    )
    os.environ[PHOTOS_VARIABLE] = " ".join(settings.photos_from)
    os.environ[MANIFEST_VARIABLE] = str(settings.manifest)
    os.environ[DOORS_VARIABLE] = str(settings.doors)
    os.environ[COOKIE_VARIABLE] = cookie
    bootstrap.load_config_options(dict(settings.streamlit))
    api = Api(_homes, open_metrics=table is None)

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
        yield {}
        api.close()

    app = st.App(
        APP,
        secrets=oidc.streamlit_secrets(table) if table else None,
        routes=[
            *door_routes(store, gate, oidc.provider_address if table else None, end_word),
            *api_routes(api),
        ],
        middleware=[Middleware(Gate, store=store, settings=gate)],
        lifespan=lifespan,
    )
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=PatientProtocol,
            ws="websockets-sansio",
            ws_max_size=MOST_MESSAGE,
            ws_ping_interval=30,
            ws_ping_timeout=30,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.certificate_key,
            # What a proxy says of its clients is believed by nobody here.
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="warning",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=QUIET_SECONDS,
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=MOST_HEAD,
        )
    )


def _merchants() -> tuple[Path, ...]:
    from ui.web.manifest import current_manifest

    return current_manifest().merchants


def _homes() -> Iterator[MerchantHome]:
    from datasites.errors import SettingsError
    from datasites.merchant.home import MerchantHome

    for root in _merchants():
        try:
            yield MerchantHome.open(root)
        except SettingsError:
            # Its page says what is wrong; the other shops go on.
            continue


def main() -> None:
    """Serve until told to stop."""
    from recsys.errors import ToyFedError

    settings = ServerSettings.model_validate_json(sys.stdin.read())
    try:
        server = build(settings)
    except ToyFedError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    # The collector looks through everything rarely: it stops all who wait meanwhile. What is open
    # for long is out of its way (`ui.web.served`), and little else here is a cycle.
    gc.set_threshold(20_000, 20, 100)
    asyncio.run(server.serve())


if __name__ == "__main__":
    main()
