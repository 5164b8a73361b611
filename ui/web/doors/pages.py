"""The sign-in and sign-out pages: plain HTML of our own, that needs nothing from anywhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from html import escape
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from ui.limits import Buckets, Rate
from ui.web.doors.gate import GateSettings
from ui.web.doors.store import ABSOLUTE_SECONDS, DoorStore

__all__ = ["OPEN_PATHS", "door_routes", "set_session"]

OPEN_PATHS = frozenset({"/sign-in", "/sign-out"})
MOST_BYTES = 4096
BODY_SECONDS = 10.0
GUESSES = Rate(per_second=0.5, burst=30)
_TOLD = {
    "signed-out": "You are signed out.",
    "not-known": "The provider knows you, but this page has no role for you, or that sign-in is "
    "too old. Ask whoever runs this page, or sign in again.",
}

# The secret follows a '#': browsers send that part to no server, so that it is in no log. The
# script takes it out of the address and of the history before it posts it.
_SCRIPT = (
    "function use(){const code=location.hash.slice(1);"
    "if(code){history.replaceState(null,'','/sign-in');"
    "document.getElementById('code').value=code;document.forms[0].submit();}}"
    "addEventListener('hashchange',use);use();"
)
_STYLE = (
    "body{font:17px/1.5 system-ui,sans-serif;max-width:32rem;margin:12vh auto;padding:0 1.2rem;"
    "color:#22223b;background:#fffdf8}h1{font-size:1.6rem}"
    "input,button,.button{font:inherit;padding:.55rem .8rem;border-radius:.5rem;"
    "border:1px solid #8d99ae;box-sizing:border-box}input{width:100%;margin:.3rem 0 .8rem}"
    "button,.button{background:#b83a17;color:#fff;border:0;cursor:pointer;text-decoration:none;"
    "display:inline-block}.told{background:#fdf0d5;padding:.6rem .8rem;border-radius:.5rem}"
    "@media(prefers-color-scheme:dark){body{background:#1d1f2b;color:#f2f2f5}"
    "input{background:#2a2d3d;color:#f2f2f5}.told{background:#3a3424}}"
)


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_POLICY = (
    f"default-src 'none'; script-src {_source(_SCRIPT)}; style-src {_source(_STYLE)}; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def door_routes(
    store: DoorStore,
    settings: GateSettings,
    provider: Callable[[], str] | None = None,
    end_word: Callable[[Scope, Response], None] = lambda _scope, _response: None,
) -> list[Route]:
    """Routes of the doors.

    Args:
        store: links and sessions.
        settings: the gate's.
        provider: address where an OpenID provider's sign-in begins; None signs in by link.
        end_word: at sign-out, makes what a provider said of somebody open nothing any more.
    """
    guesses = Buckets(GUESSES)

    async def sign_in(request: Request) -> Response:
        if request.method == "GET":
            told = next((text for word, text in _TOLD.items() if word in request.query_params), "")
            return _sign_in_page(told, provider)
        if not _from_here(request):
            return _sign_in_page("That did not come from this page. Try again here.", provider, 403)
        if provider is not None:
            return _sign_in_page("Links are not used here.", provider, 403)
        who = request.client.host if request.client else ""
        if guesses.wait(who) > 0:
            return _sign_in_page("Too many tries. Wait a minute, then try again.", provider, 429)
        code = await _posted_code(request)
        secret = store.use_link(code) if code else None
        if secret is None:
            return _sign_in_page(
                "This link does not open anything (any more): each works once, for a short time. "
                "Make a new one with `toyfed web link`.",
                provider,
                403,
            )
        # Whoever was signed in here before is not any more.
        store.end(request.cookies.get(settings.cookie))
        response = RedirectResponse("/", status_code=303)
        set_session(response, settings, secret)
        return response

    async def sign_out(request: Request) -> Response:
        # A page elsewhere that links here must not sign anybody out.
        if request.headers.get("sec-fetch-site") != "same-origin" and not _from_here(request):
            return _sign_out_page()
        store.end(request.cookies.get(settings.cookie))
        response = RedirectResponse("/sign-in?signed-out", status_code=303)
        response.delete_cookie(
            settings.cookie, path="/", secure=settings.secure, httponly=True, samesite="strict"
        )
        # Otherwise the next visit would sign in again by itself.
        end_word(request.scope, response)
        return response

    return [
        Route("/sign-in", sign_in, methods=["GET", "POST"]),
        Route("/sign-out", sign_out, methods=["GET", "POST"]),
    ]


def set_session(response: Response, settings: GateSettings, secret: str) -> None:
    """Give the browser its session: out of reach of scripts, sent to this page alone."""
    response.set_cookie(
        settings.cookie,
        secret,
        max_age=int(ABSOLUTE_SECONDS),
        path="/",
        secure=settings.secure,
        httponly=True,
        samesite="strict",
    )


def _from_here(request: Request) -> bool:
    """Whether a form of this very page sent it."""
    if request.method != "POST":
        return False
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host")


async def _posted_code(request: Request) -> str:
    """The form's only field; "" if what came is no such form, too long, or too slow."""
    data = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > MOST_BYTES:
                    return ""
    except TimeoutError:
        return ""
    try:
        found = parse_qs(data.decode("ascii"), max_num_fields=4).get("code", [])
    except ValueError:
        return ""
    return found[0].strip() if len(found) == 1 else ""


def _sign_in_page(
    told: str, provider: Callable[[], str] | None = None, status: int = 200
) -> Response:
    note = f'<p class="told" role="status">{escape(told)}</p>' if told else ""
    if provider is not None:
        body = f'<p><a class="button" href="{escape(provider())}">Sign in</a></p>'
    else:
        body = (
            "<p>Open the link that <code>toyfed web</code> printed, or paste its code (what "
            "follows the #) here.</p>"
            '<form method="post" action="/sign-in"><label for="code">Code</label>'
            '<input id="code" name="code" autocomplete="off" spellcheck="false" required>'
            "<button>Sign in</button></form>"
            f"<script>{_SCRIPT}</script>"
        )
    return _page("Sign in to ToyFed", note + body, status)


def _sign_out_page() -> Response:
    return _page(
        "Sign out?", '<form method="post" action="/sign-out"><button>Sign out</button></form>', 200
    )


def _page(title: str, body: str, status: int) -> Response:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>",
        status_code=status,
        headers={"content-security-policy": _POLICY, "cache-control": "no-store"},
    )
