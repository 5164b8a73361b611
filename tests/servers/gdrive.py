"""A stand-in for Google Drive's API, version 3: Google cannot run here, its client can.

It knows what ToyFed's requests need, and Drive's ways: ids, names that may be there twice, owners,
uploads in one piece and in several, pages, and names that are found without regard to case. Files
lie on disk, so that a killed server comes back with them. Who asks is told by the token.
"""

from __future__ import annotations

import datetime
import email
import email.policy
import json
import os
import re
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

SHARED = "folder-of-all-toys"
"""Id of a folder that everybody may write in."""
FOLDER = "application/vnd.google-apps.folder"


class Files:
    """Facts and bytes of all files, each in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self.sessions: dict[str, tuple[str | None, dict[str, Any]]] = {}
        if not self.facts(SHARED):
            self._keep({"id": SHARED, "name": "All toys", "mimeType": FOLDER}, "market")

    def facts(self, one: str) -> dict[str, Any] | None:
        file = self._folder / f"{one}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def content(self, one: str) -> bytes:
        return (self._folder / f"{one}.bin").read_bytes()

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return [json.loads(file.read_text()) for file in sorted(self._folder.glob("*.json"))]

    def create(self, facts: dict[str, Any], owner: str, data: bytes | None) -> dict[str, Any]:
        if not all(self.facts(one) for one in facts.get("parents", [])):
            raise KeyError
        if self.facts(facts["id"]):
            raise FileExistsError
        return self._keep(facts, owner, data)

    def update(
        self, one: str, changed: dict[str, Any], data: bytes | None, removed: str
    ) -> dict[str, Any]:
        facts = self.facts(one)
        if facts is None:
            raise KeyError
        facts["parents"] = [kept for kept in facts["parents"] if kept not in removed.split(",")]
        return self._keep({**facts, **changed}, facts["owner"], data)

    def delete(self, one: str, by: str) -> None:
        facts = self.facts(one)
        if facts is None:
            raise KeyError
        if facts["owner"] != by:
            raise PermissionError
        below = [other for other in self.all() if one in other["parents"]]
        for other in below:
            self.delete(other["id"], other["owner"])
        with self._lock:
            (self._folder / f"{one}.json").unlink(missing_ok=True)

    def _keep(self, facts: dict[str, Any], owner: str, data: bytes | None = None) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        facts = {"createdTime": now, "mimeType": "application/octet-stream", "parents": [], **facts}
        facts |= {"modifiedTime": now, "owner": owner}
        with self._lock:
            if data is not None:
                facts["size"] = str(len(data))
                draft = self._folder / f"{facts['id']}.new"
                draft.write_bytes(data)
                draft.replace(self._folder / f"{facts['id']}.bin")
            draft = self._folder / f"{facts['id']}.draft"
            draft.write_text(json.dumps(facts))
            draft.replace(self._folder / f"{facts['id']}.json")
        return facts


def matches(query: str, facts: dict[str, Any]) -> bool:
    """Whether a file is meant: `('id' in parents or ...) and trashed = false and name = '...'`."""
    text = r"'((?:[^'\\]|\\.)*)'"
    within = rf"{text} in parents"
    asked = re.fullmatch(
        rf"\((.*? in parents)\) and trashed = false(?: and name = {text})?", query, re.DOTALL
    )
    assert asked, query
    parents = [re.fullmatch(within, one)[1] for one in asked[1].split(" or ")]  # type: ignore[index]
    name = asked[2] and re.sub(r"\\(.)", r"\1", asked[2])
    named = name is None or facts["name"].casefold() == name.casefold()
    return named and bool(set(parents) & set(facts["parents"]))


def application(folder: Path) -> Any:
    """The API as a Flask application."""
    from flask import Flask, Response, jsonify, request

    files, app = Files(folder), Flask(__name__)

    def who() -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def seen(facts: dict[str, Any]) -> dict[str, Any]:
        return {**facts, "ownedByMe": facts["owner"] == who()}

    def refused(code: int, reason: str) -> Any:
        told = {"code": code, "message": reason, "errors": [{"reason": reason, "message": reason}]}
        return jsonify({"error": told}), code

    @app.before_request
    def _signed_in() -> Any:
        if not who().startswith("token-of-"):
            return refused(401, "authError")
        return None

    @app.errorhandler(KeyError)
    def _missing(_: Exception) -> Any:
        return refused(404, "notFound")

    @app.errorhandler(FileExistsError)
    def _there(_: Exception) -> Any:
        return refused(409, "fileIdInUse")

    @app.errorhandler(PermissionError)
    def _forbidden(_: Exception) -> Any:
        return refused(403, "insufficientFilePermissions")

    @app.get("/drive/v3/files")
    def _list() -> Any:
        found = [seen(one) for one in files.all() if matches(request.args["q"], one)]
        assert request.args["orderBy"] == "modifiedTime desc"
        found.sort(key=lambda one: one["modifiedTime"], reverse=True)
        start, size = int(request.args.get("pageToken") or 0), int(request.args["pageSize"])
        answer: dict[str, Any] = {"files": found[start : start + size]}
        if start + size < len(found):
            answer["nextPageToken"] = str(start + size)
        return jsonify(answer)

    @app.get("/drive/v3/files/<one>")
    def _get(one: str) -> Any:
        facts = files.facts(one)
        if facts is None:
            raise KeyError
        if request.args.get("alt") == "media":
            first, last = request.headers["Range"].removeprefix("bytes=").split("-")
            part = files.content(one)[int(first) : int(last) + 1]
            return Response(part, 206, mimetype=facts["mimeType"])
        return jsonify(seen(facts))

    @app.get("/drive/v3/files/generateIds")
    def _ids() -> Any:
        return jsonify({"ids": [uuid.uuid4().hex for _ in range(int(request.args["count"]))]})

    @app.post("/drive/v3/files")
    def _create() -> Any:
        return jsonify(files.create(request.get_json(), who(), None))

    @app.patch("/drive/v3/files/<one>")
    def _change(one: str) -> Any:
        changed = request.get_json(silent=True) or {}
        return jsonify(files.update(one, changed, None, request.args.get("removeParents", "")))

    @app.delete("/drive/v3/files/<one>")
    def _delete(one: str) -> Any:
        files.delete(one, who())
        return "", 204

    def keep(one: str | None, facts: dict[str, Any], data: bytes) -> Any:
        if one is None:
            return jsonify(files.create(facts, who(), data))
        return jsonify(files.update(one, facts, data, ""))

    @app.route("/upload/drive/v3/files", methods=["POST"])
    @app.route("/upload/drive/v3/files/<one>", methods=["PATCH"])
    def _upload(one: str | None = None) -> Any:
        if one is not None and files.facts(one) is None:
            raise KeyError
        kind = request.args["uploadType"]
        if kind == "resumable":
            session = uuid.uuid4().hex
            files.sessions[session] = (one, request.get_json(silent=True) or {})
            return "", 200, {"Location": f"{request.host_url}session/{session}"}
        if kind == "media":
            return keep(one, {}, request.get_data())
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + request.get_data(), policy=email.policy.HTTP)
        facts, body = parts.get_payload()  # type: ignore[misc]
        return keep(one, json.loads(facts.get_content()), body.get_payload(decode=True))

    @app.put("/session/<session>")
    def _resumed(session: str) -> Any:
        one, facts = files.sessions[session]
        start, end, whole = re.fullmatch(  # type: ignore[union-attr]
            r"bytes (\d+)-(\d+)/(\d+)", request.headers["Content-Range"]
        ).groups()
        part = folder / f"{session}.part"
        with part.open("ab") as file:
            assert file.tell() == int(start)
            file.write(request.get_data())
        if int(end) + 1 < int(whole):
            return "", 308, {"Range": f"bytes=0-{end}"}
        data = part.read_bytes()
        part.unlink()
        return keep(one, facts, data)

    return app


def write_token(folder: Path, name: str) -> Path:
    """A token as PySyft keeps it, of somebody who is signed in for an hour."""
    file = folder / f"token-{name}.json"
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    token = {
        "token": f"token-of-{name}",
        "refresh_token": "none",
        "client_id": "none",
        "client_secret": "none",
        "expiry": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    file.touch(0o600)
    file.write_text(json.dumps(token))
    return file


def main() -> None:
    from werkzeug.serving import make_server

    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    (folder / "share").mkdir(exist_ok=True)
    server = make_server("127.0.0.1", port, application(folder / "share"), threaded=True)
    (folder / f"ready-{os.getpid()}").touch()
    server.serve_forever()


if __name__ == "__main__":
    main()
