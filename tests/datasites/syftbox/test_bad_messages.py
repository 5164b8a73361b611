"""One bad message: refused or quarantined, and the service goes on."""

from __future__ import annotations

import time

import pytest
from syft.sync.utils.syftbox_utils import compress_data

from datasites.errors import ReviewError, TransportError
from datasites.syftbox import (
    hardening,
    messages,
    parcels,
)
from tests.datasites.syftbox.forged import DS, SHOP, inbox, job_message, peak_mb, read, sealed

pytestmark = pytest.mark.attack


def test_half_a_character_does_not_end_the_service(pair):
    for n, data in enumerate(
        (job_message(text="\ud800"), job_message(params='{"a": "\\ud800"}'), b"")
    ):
        inbox(pair).mkdir(parents=True, exist_ok=True)
        (inbox(pair) / f"msgv2_{n}.5_x.tar.gz").write_bytes(sealed(pair.scientist, SHOP, data))
    pair.scientist.submit(SHOP, "real", pair.code, {})
    pair.merchant.sync()
    assert "real" in [job.job for job in pair.merchant.submissions()]
    assert pair.merchant._party.connection.inbox_messages(DS) == []


def test_an_error_that_nobody_thought_of_is_quarantined(pair, monkeypatch):
    def breaks(*_: object, **__: object) -> None:
        raise AttributeError("shopper 7 bought a castle")

    monkeypatch.setattr(hardening, "read_job", breaks)
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    ((sender, reason),) = pair.merchant.sync().quarantined
    assert (sender, reason) == (DS, "not understood: AttributeError")
    assert pair.merchant.sync().quarantined == []


def test_a_full_disk_loses_no_message(pair, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    with monkeypatch.context() as disk:
        disk.setattr(type(pair.merchant._shelf), "accept", full)
        with pytest.raises(OSError, match="No space"):
            pair.merchant.sync()
    assert pair.merchant.sync().new_jobs == 1


@pytest.mark.parametrize("part", [b"{},", b"[],", b'"",', b"0,"])
def test_values_without_end_take_no_memory(part):
    text = b'{"proposed_file_changes": [' + part * (7_000_000 // len(part)) + b"0]}"
    data = compress_data(text)
    assert len(data) < 200_000

    def refuse() -> None:
        with pytest.raises(ReviewError, match="too many parts"):
            read(data)

    # Parsed, it would take 100 to 400 MB.
    assert peak_mb(refuse) < 40


def test_parameters_without_end_take_no_memory():
    data = job_message(params='{"a": [' + "{}," * 2_000_000 + "0]}")

    def refuse() -> None:
        with pytest.raises(ReviewError, match="at most 1 MB"):
            read(data)

    assert peak_mb(refuse) < 60


@pytest.mark.parametrize("number", ["9" * 100_000, "1e999", "-1e999", "NaN"])
def test_huge_numbers_are_refused_in_no_time(number):
    begun = time.process_time()
    with pytest.raises(ReviewError):
        messages.encode_params(read(job_message(params=f'{{"a": {number}}}')).params)
    assert time.process_time() - begun < 2


def test_quotes_without_end_take_linear_time():
    for text in (b'"' * 4_000_000, b'"' + b'\\"' * 2_000_000, b'"\\' * 2_000_000):
        begun = time.process_time()
        with pytest.raises(ReviewError):
            read(compress_data(text))
        assert time.process_time() - begun < 5


def test_a_parcels_head_takes_no_memory():
    head = b'{"facts": {}, "files": [' + b"[]," * 5_000_000 + b"[]]}"
    parcel = b"toyfed parcel 1\n" + len(head).to_bytes(8, "big") + head

    def refuse() -> None:
        with pytest.raises(TransportError, match="damaged"):
            parcels.open_parcel(parcel)

    assert peak_mb(refuse) < 10


@pytest.mark.parametrize(
    "hidden", ["\x1b[2K", "\x1b]0;x\x07", "\u202e", "\u2066", "\u200b", "x\ry", "\x00", "\x9b1A"]
)
def test_code_that_would_read_otherwise_than_it_runs_is_refused(pair, hidden):
    code = f"print(1)  # {hidden} harmless\n"
    with pytest.raises(ReviewError, match="read differently"):
        pair.scientist.submit(SHOP, "job-1", {"main.py": code.encode()}, {})
    with pytest.raises(ReviewError, match="read differently"):
        read(job_message(text=code))
    # Written as an escape it is only text; line ends of any system are fine.
    assert read(job_message(text="print('\\x1b')\r\n\tpass\n")).code
