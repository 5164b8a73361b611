"""Messages are unpacked within bounds, and only what a job or a reply may hold gets through."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import tracemalloc

import pytest
from syft.sync.utils.syftbox_utils import compress_data

from datasites.errors import ReviewError, TransportError
from datasites.syftbox import job_code, messages, parcels

pytestmark = pytest.mark.attack
SHOP, DS = "shop@example.org", "ds@example.org"
INBOX = f"app_data/job/inbox/{DS}/v1/job-1"


def change(path: str, content: object = "x", **more: object) -> dict[str, object]:
    return {"path_in_datasite": path, "content": content, "datasite_email": SHOP, **more}


def packed(changes: list[dict[str, object]], sender: str = DS) -> bytes:
    message = {"sender_email": sender, "proposed_file_changes": changes}
    return compress_data(json.dumps(message).encode())


def good() -> list[dict[str, object]]:
    return [
        change(f"{INBOX}/run.sh"),
        change(f"{INBOX}/config.yaml"),
        change(f"{INBOX}/code/main.py", "print(1)"),
        change(f"{INBOX}/code/lib/model.py", "ITEMS = 3"),
        change(f"{INBOX}/code/params.json", '{"n": 1}'),
    ]


def read(changes: list[dict[str, object]], sender: str = DS) -> messages.IncomingJob:
    return messages.read_job(packed(changes, sender), owner=SHOP, sender=DS)


def test_a_job_is_read_without_its_run_script():
    job = read(good())
    assert job.job == "job-1"
    assert job.code == {"main.py": b"print(1)", "lib/model.py": b"ITEMS = 3"}
    assert job.params == {"n": 1}


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (change("private/keys/crypto_keys.json"), "outside"),
        (change(f"app_data/job/review/{DS}/v1/job-1/state.yaml"), "outside"),
        (change("app_data/job/inbox/other@example.org/v1/job-1/code/main.py"), "outside"),
        (change(f"app_data/job/inbox/{DS}/v1/../../../../x.py"), "name of 1 to 128"),
        (change(f"{INBOX}/code/../../x.py"), "relative path"),
        (change(f"/{INBOX}/code/x.py"), "outside"),
        (change(f"{INBOX}/code/.hidden.py"), "relative path"),
        (change(f"{INBOX}/code/a/b/c/d/e/f/g/h/i.py"), "relative path"),
        (change(f"{INBOX}/syft.pub.yaml"), "no part of a job"),
        (change(f"{INBOX}/code/MAIN.py"), "twice"),
        (change(f"{INBOX}/code/main.py/x.py"), "distinct"),
        (change(f"{INBOX}/code/x.py", None, is_deleted=True), "delete"),
        (change(f"{INBOX}/code/x.py", None), "delete"),
        (change(f"app_data/job/inbox/{DS}/v1/job-2/code/x.py"), "several"),
        (change(f"app_data/job/inbox/{DS}/v1/v7/code/x.py"), "name of 1 to 128"),
        ({**change(f"{INBOX}/code/x.py"), "datasite_email": "o@example.org"}, "addressed"),
        (
            change(
                f"{INBOX}/code/x.py", base64.b64encode(b"\xff\xfe").decode(), content_type="binary"
            ),
            "UTF-8",
        ),
    ],
)
def test_anything_that_is_no_part_of_a_job_is_refused(extra, reason):
    with pytest.raises(ReviewError, match=reason):
        read([*good(), extra])


def test_the_sender_inside_must_be_the_folder_it_lay_in():
    with pytest.raises(ReviewError, match="another sender"):
        read(good(), sender=SHOP)


@pytest.mark.parametrize("params", ["[1]", "nonsense", '{"n": NaN}', "[" * 200_000])
def test_parameters_are_one_json_object(params):
    with pytest.raises(ReviewError, match=r"params\.json"):
        read([*good()[:-1], change(f"{INBOX}/code/params.json", params)])


@pytest.mark.parametrize("text", ["[]", "{}", "7", '{"proposed_file_changes": 3}', "[" * 100_000])
def test_json_of_another_kind_is_refused(text):
    with pytest.raises(ReviewError, match=r"another kind|too many parts"):
        messages.read_job(compress_data(text.encode()), owner=SHOP, sender=DS)


@pytest.mark.parametrize("content", [2_000_000_000, 10**30, [1, 2], {}, 1.5, True])
def test_a_number_for_a_text_takes_no_memory(content):
    changes = [*good()[:-1], change(f"{INBOX}/code/params.json", content)]
    event = {**change(f"app_data/job/review/{DS}/v1/job-1/reply.json", content)}
    reply = compress_data(json.dumps({"events": [event]}).encode())
    tracemalloc.start()
    try:
        with pytest.raises(ReviewError, match="another kind"):
            read(changes)
        with pytest.raises(ReviewError, match="another kind"):
            messages.read_reply(reply, owner=SHOP, reader=DS)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "# coding: utf-7\n# +AAo-import os\n",
        "#!/usr/bin/python\n# -*- coding: latin-1 -*-\n",
        "\t# vim: set fileencoding=utf_16 :\n",
    ],
)
def test_code_in_an_encoding_that_people_do_not_see_is_refused(text):
    with pytest.raises(ReviewError, match="another encoding"):
        job_code.check_code({"main.py": text.encode()})
    job_code.check_code({"main.py": b"# -*- coding: utf-8 -*-\nx = 'coding: utf-7'\n"})


def test_too_many_files_are_refused():
    many = [change(f"{INBOX}/code/f{n}.py") for n in range(300)]
    with pytest.raises(ReviewError, match="found 305"):
        read([*good(), *many])


def test_a_gzip_bomb_takes_no_memory():
    bomb = gzip.compress(b"\0" * 100_000_000, compresslevel=9)
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ReviewError, match="found more"):
            messages.unpack(bomb, 8 * 2**20)
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


def tar_of(info: tarfile.TarInfo, data: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_sparse_and_linked_members_are_refused():
    sparse = tarfile.TarInfo("proposed_file_changes.json")
    sparse.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(10**12),
    }
    link = tarfile.TarInfo("proposed_file_changes.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    other = tarfile.TarInfo("another.json")
    for info in (sparse, link, other):
        with pytest.raises(ReviewError, match=r"tar archive"):
            messages.unpack(tar_of(info), 1000)


def test_trailing_and_cut_archives_are_refused():
    whole = packed(good())
    for data in (whole + b"more", whole[:-20], b"", b"plain text"):
        with pytest.raises(ReviewError):
            messages.unpack(data, 10_000)


def reply_message(path: str, **more: object) -> bytes:
    event = {
        "id": "12345678-1234-5678-1234-567812345678",
        "path_in_datasite": path,
        "datasite_email": SHOP,
        "content": '{"status": "done", "message": "", "files": {}}',
        "submitted_timestamp": 1.0,
        "timestamp": 1.0,
        **more,
    }
    return compress_data(json.dumps({"events": [event]}).encode())


def test_a_reply_stays_in_its_readers_review_folder():
    path = f"app_data/job/review/{DS}/v1/job-1/reply.json"
    reply, _ = messages.read_reply(reply_message(path), owner=SHOP, reader=DS)
    assert (reply.job, reply.status, reply.files) == ("job-1", "done", {})
    for bad in (
        f"app_data/job/review/other@example.org/v1/job-1/{path[-10:]}",
        f"app_data/job/inbox/{DS}/v1/job-1/reply.json",
        "../../private/keys/peers.json",
        f"/{path}",
    ):
        with pytest.raises(ReviewError, match="outside"):
            messages.read_reply(reply_message(bad), owner=SHOP, reader=DS)
    for more in ({"datasite_email": "other@example.org"}, {"is_deleted": True}):
        with pytest.raises(ReviewError, match="another's name"):
            messages.read_reply(reply_message(path, **more), owner=SHOP, reader=DS)


def test_a_parcel_opens_as_packed_and_a_damaged_one_does_not():
    files = {"b.bin": bytes(range(256)), "a.txt": b""}
    parcel = parcels.pack_parcel(files, {"summary": "mock"})
    assert parcels.pack_parcel(dict(sorted(files.items())), {"summary": "mock"}) == parcel
    assert parcels.open_parcel(parcel) == (files, {"summary": "mock"})
    evil = parcel.replace(b'"a.txt"', b'"../.."')
    for damaged in (parcel[:-1], parcel + b"x", parcel[1:], b"", evil):
        with pytest.raises(TransportError):
            parcels.open_parcel(damaged)


def test_unpacking_replaces_a_folder_as_a_whole(tmp_path):
    parcels.unpack_into({"old.bin": b"1"}, tmp_path / "state")
    parcels.unpack_into({"new.bin": b"2"}, tmp_path / "state")
    assert [p.name for p in tmp_path.rglob("*")] == ["state", "new.bin"]
