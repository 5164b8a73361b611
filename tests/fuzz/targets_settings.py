"""Readers of settings, small files of our own, and what comes to the web page."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger.records import GENESIS, chain_hash, plain, read_record
from datasites.merchant.ledger.store import Store
from datasites.pairing import check_pairing_code
from datasites.quarantine import Quarantine
from datasites.recipes import recipe_named
from datasites.study.home import ScientistHome
from datasites.study.journal import read_journal
from datasites.study.settings import StudySettings
from datasites.syftbox.peers import PeerBook
from recsys.privacy import Budget
from tests.fuzz.target import Target, scratch, scratch_file
from ui.api.requests import Refusal

__all__ = ["TARGETS"]

STUDY = b"""[study]
name = "toys-2026"
recipe = "private-als"
merchants = ["castle@toyfed.local", "harbour@toyfed.local"]
[privacy]
unit = "shopper"
epsilon = 1.0
delta = 1e-5
[model]
rounds = 3
factors = 4
[federation]
merge = "support"
patience_seconds = 600.0
"""
NEURAL = b"""[study]
name = "n"
recipe = "neural"
merchants = ["a@b.c"]
[model]
steps = 3
hidden = 8
"""
PAIRS = NEURAL.replace(b"neural", b"co-purchase").replace(
    b"steps = 3\nhidden = 8", b"window = 2\npairs_per_toy = 3"
)
MERCHANT = b'name = "Castle"\nemail = "a@b.c"\nshare = "/tmp/share"\nepsilon = 2.0\n'
SCIENTIST = b'email = "a@b.c"\nshare = "s3://bucket/x"\npoll_seconds = 0.5\n'
RECORD = (
    b'{"at":"2026-01-01T00:00:00.000000Z","body":{"job":"j"},"kind":"note","note":true,'
    b'"seq":1,"study":"s"}'
)


def _study(data: bytes) -> None:
    """From the file to the plan of what phases cost, as `toyfed study submit` goes."""
    with scratch_file("study.toml", data) as file:
        settings = StudySettings.read(file)
    recipe = recipe_named(settings.study.recipe)
    complete = recipe.complete(dict(settings.model))
    # Planning the noise of DP-SGD takes a second; the others' settings make their plan at once.
    if settings.study.recipe != "neural":
        budget = Budget(settings.privacy.epsilon, settings.privacy.delta)
        recipe.phases(complete, budget, 20)


def _merchant(data: bytes) -> None:
    with scratch_file("merchant.toml", data):
        MerchantHome.open(scratch())


def _scientist(data: bytes) -> None:
    with scratch_file("scientist.toml", data):
        ScientistHome.open(scratch())


def _record(data: bytes) -> None:
    text = data.decode(errors="replace")
    read_record(1, GENESIS, text, chain_hash(GENESIS, text))


def _plain(data: bytes) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    plain("facts", value, 2000, 100)


def _head(data: bytes) -> None:
    store = Store(scratch() / "ledger.sqlite")
    with scratch_file(store.head_path.name, data):
        store.read_head()


def _sqlite(data: bytes) -> None:
    from datasites.merchant.ledger import Ledger

    with scratch_file("ledger.sqlite", data), scratch_file("ledger.sqlite.head", HEAD):
        Ledger.open(scratch() / "ledger.sqlite").entries()


HEAD = b'{"hash":"' + b"0" * 64 + b'","seq":0}\n'


def _quarantine(data: bytes) -> None:
    with scratch_file("0" * 20 + ".json", data):
        Quarantine(scratch()).entries()


def _journal(data: bytes) -> None:
    with scratch_file("progress.jsonl", data):
        read_journal(scratch())


def _peers(data: bytes) -> None:
    with scratch_file("peers.json", data) as file:
        book = PeerBook(file)
        book.all()
        book.accepted()


def _pairing(data: bytes) -> None:
    check_pairing_code(data.decode(errors="replace"), WORDS)


WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"


def _manifest(data: bytes) -> None:
    from ui.web.manifest import read_manifest

    with scratch_file("market.json", data) as file:
        read_manifest(file).names()


def _report(data: bytes) -> None:
    from ui.web.report import read_report

    with scratch_file("report.json", data) as file:
        read_report(file).csv()


def _keys(data: bytes) -> None:
    from ui.api.keys import KeyRing

    home = _Home(scratch())
    with scratch_file("api-keys.json", data):
        KeyRing(home).find("toyfed_00000000_x")  # type: ignore[arg-type]


def _sign_in(data: bytes) -> None:
    from ui.web.doors.oidc import read_sign_in

    with scratch_file("sign-in.toml", data) as file:
        read_sign_in(file)


class _Home:
    def __init__(self, private: Path) -> None:
        self.private = private


def _answered(refused: Refusal) -> None:
    assert 400 <= refused.status < 500
    refused.problem.model_dump_json()


def _address(data: bytes) -> None:
    """As the server hands it over: ASCII or percent-encoded, in `query_string`."""
    from starlette.requests import Request

    from ui.api.questions import Popular, Similar
    from ui.api.requests import question_in_address

    for kind in (Popular, Similar):
        scope = {"type": "http", "method": "GET", "query_string": data, "headers": []}
        try:
            question_in_address(Request(scope), kind)
        except Refusal as refused:
            _answered(refused)


def _body(data: bytes) -> None:
    from starlette.requests import Request

    from ui.api.questions import Basket
    from ui.api.requests import question_in_body

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": data, "more_body": False}

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": headers}
    try:
        asyncio.run(question_in_body(Request(scope, receive), Basket))  # type: ignore[arg-type]
    except Refusal as refused:
        _answered(refused)


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


_REPORT = {
    "settings": {"seed": 1},
    "results": {
        "popularity": {
            "overall": {"hr@10": 0.1, "n": 5},
            "ci": {"hr@10": [0.0, 0.2]},
            "merchants": {"Castle": {"hr@10": 0.3}},
        }
    },
    "privacy": {"Castle": {"epsilon": 1.0, "delta": 1e-5, "events": [1]}},
    "cost": {"counts": {"seconds": 1.0, "peak_mb": 5}},
    "gain": {"ndcg@10": 0.1, "low": 0.0, "high": 0.2, "n": 7},
    "groups": {
        "size": {"small": {"alone": 1, "together": 2, "gain": 1, "low": 0, "high": 2, "n": 4}}
    },
}
_KEYS = {"keys": [{"id": "0" * 8, "label": "till", "sha256": "0" * 64, "made": "2026"}]}
_SIGN_IN = b"""[provider]
redirect_uri = "https://toys.example.org/oauth2callback"
cookie_secret = "0123456789012345678901234567890123456789"
client_id = "x"
client_secret = "y"
server_metadata_url = "https://login.example.org/.well-known/openid-configuration"
[[people]]
email = "a@b.c"
role = "merchant"
merchant = "Castle"
"""
_REFUSED = {"sender": "a@b.c", "reason": "why", "at": 1.0, "bytes": 4, "sha256": "00"}
_MOMENT = (
    b'{"at": "2026-01-01T00:00:00.000+00:00", "what": "phase", "phase": "counts", '
    b'"merchant": "a@b.c", "detail": ""}\n'
)
_TOML = (b"[study]\n", b"[[study]]\n", b"study.name = 1\n", b"inf", b"1979-05-27", b"'''", b'"""')

TARGETS = (
    Target("study-toml", _study, (STUDY, NEURAL, PAIRS), "text", _TOML),
    Target("merchant-toml", _merchant, (MERCHANT,), "text", _TOML),
    Target("scientist-toml", _scientist, (SCIENTIST,), "text", _TOML),
    Target("sign-in-toml", _sign_in, (_SIGN_IN,), "text", _TOML),
    Target("ledger-record", _record, (RECORD,), "json"),
    Target("ledger-facts", _plain, (RECORD, b'{"a": [1, {"b": 2.5}]}'), "json"),
    Target("ledger-head", _head, (HEAD,), "json"),
    Target("quarantine", _quarantine, (_text(_REFUSED),), "json"),
    Target("study-journal", _journal, (_MOMENT * 3,), "text"),
    Target(
        "peers", _peers, (_text({"a@b.c": {"state": "accepted", "fingerprint": "00"}}),), "json"
    ),
    Target("pairing-words", _pairing, (WORDS.encode(),), "text"),
    Target("page-manifest", _manifest, (b'{"merchants": ["castle"], "study": "s"}',), "json"),
    Target("page-report", _report, (_text(_REPORT),), "json"),
    Target("api-keys", _keys, (_text(_KEYS),), "json"),
    Target(
        "api-address",
        _address,
        (b"n=5&price_min=1.5&age=3", b"item=toy-1&n=3", b"category=a%20b"),
        "text",
    ),
    Target(
        "api-body",
        _body,
        (_text({"basket": ["toy-1"], "n": 3, "price_min": 2, "categories": ["a"], "exclude": []}),),
        "json",
    ),
)
