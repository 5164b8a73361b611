"""Starts the zygote in a sandbox of its own and hands it one shopper's page at a time."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasites.errors import ReviewError, SandboxError
from datasites.merchant.code import code_digest, read_code
from datasites.merchant.contributions.kernel import kernel_facts
from datasites.merchant.contributions.page import Answer, Page, RowArray
from datasites.merchant.sandbox.doctor import working_bwrap
from datasites.merchant.sandbox.interpreter import find_interpreter, installed_package
from datasites.merchant.sandbox.jail import read_only, system_libraries
from datasites.merchant.sandbox.oom import first_to_go

__all__ = ["Nest", "RowLimits"]

_NOBODY = "65534"
_START_SECONDS = 60.0
_LAG_SECONDS = 30.0
_MEGABYTE = 1024 * 1024
_ADDRESSES = 16 * _MEGABYTE  # what Python maps to begin with, and a long history
_ZYGOTE = Path(__file__).with_name("zygote")


@dataclass(frozen=True)
class RowLimits:
    """What a program may use for one shopper.

    Args:
        milliseconds: processor time; by the clock it may take five times as long, and half a
            second.
        memory_mb: memory, beside what is there before the first shopper; the kernel's own tables
            of a program's pages may take twice as much again.
    """

    milliseconds: int = 100
    memory_mb: int = 512

    @property
    def wall_seconds(self) -> float:
        """The backstop, for a child that waits instead of computing."""
        return 0.5 + self.milliseconds / 200


class Nest:
    """One sandbox in which a program's children live, one after another.

    Nothing in it can be written, by anybody: every folder is read-only, /tmp and /dev are not
    there, nor /proc. There is no network. Children cannot even read a file. The program is a
    checked copy of the approved code.

    Args:
        code: folder with `main.py`.
        state: safetensors file of public arrays, or None.
        job: phase, n_items and program settings, as the program sees them.
        arrays: what a row is made of.
        limits: for each shopper.
        expected_digest: `code_digest` that the code must have.

    Raises:
        ReviewError: the code cannot be read, is not the approved one, or does not load; no
            shopper's data was anywhere near, so the reason may be told to everybody.
        SandboxError: this machine cannot confine programs like this.
    """

    def __init__(
        self,
        code: Path,
        state: Path | None,
        job: Mapping[str, Any],
        arrays: Sequence[RowArray],
        limits: RowLimits,
        expected_digest: str | None = None,
    ) -> None:
        self._arrays = arrays
        self._limits = limits
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        facts = kernel_facts()
        if facts is None:
            raise SandboxError(
                "expected a Linux machine of the kind x86_64 or aarch64 for programs that are not "
                "shipped recipes, found another. Use a shipped recipe here"
            )
        work = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="toyfed-nest-")))
        self._code, self._inputs = work / "code", work / "inputs"
        try:
            _copy_code(code, self._code, expected_digest)
            self._inputs.mkdir()
            if state is not None:
                (self._inputs / "state.safetensors").write_bytes(state.read_bytes())
            told = {
                **job,
                "arrays": [[one.name, one.shape] for one in arrays],
                "limits": {
                    "cpu_seconds": limits.milliseconds / 1000,
                    "whole_cpu_seconds": 2 + limits.milliseconds // 1000,
                    "wall_seconds": limits.wall_seconds,
                    "memory_bytes": limits.memory_mb * _MEGABYTE
                    + _ADDRESSES
                    + sum(one.most_bytes for one in arrays),
                },
                "kernel": facts._asdict() | {"filter": facts.filter.hex()},
            }
            (self._inputs / "job.json").write_text(json.dumps(told))
            self._start()
            self._check_loads()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Nest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def row(self, history: np.ndarray) -> Answer:
        """What the program returns for one shopper, int32 [n] toys, oldest first.

        Whatever goes wrong with a child is an answer without a row. A sandbox that breaks off,
        which no child can bring about, raises SandboxError: a second one would be laid out
        otherwise in memory, and rows before and after it could be told apart.

        Privacy: stays at the merchant.
        """
        with Page(history, self._arrays) as page:
            self._ask(page)
            try:
                return page.answer()
            except MemoryError:
                # Of this machine, and for a full row: no reason to end the run because of one.
                return Answer(None, "its row does not fit into memory")

    def close(self) -> None:
        """End the sandbox and everything in it."""
        self._end()
        self._stack.close()

    def _ask(self, page: Page) -> None:
        try:
            self._words.send(b"g")
            socket.send_fds(self._pages, [b"s"], [page.handle])
            said = self._pages.recv(1)
        except OSError:
            said = b""
        if said != b"d":
            # The page must not be read while a child could still write in it.
            self._end()
            raise SandboxError("the sandbox for programs broke off")

    def _check_loads(self) -> None:
        with Page(np.zeros(0, np.int32), self._arrays, row=False) as page:
            self._ask(page)
            found = page.answer()
        if found.parts is None and "not as declared" not in found.text:
            raise ReviewError(
                "expected a program that loads and defines contribution(history, state, settings), "
                f"found: {found.text[:300]}. Try it with `toyfed study try` before you send it"
            )

    def _start(self) -> None:
        interpreter = find_interpreter()
        (self._words, words), (self._pages, pages) = socket.socketpair(), socket.socketpair()
        options = [
            *("--unshare-all", "--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY),
            *("--hostname", "sandbox", "--new-session", "--die-with-parent"),
            # For making a child's own numbering of processes; the children have given it up.
            *("--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"),
            *system_libraries(),
            *(word for path in interpreter.paths for word in read_only(path, str(path))),
            *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
            *read_only(self._code, "/code"),
            *read_only(self._inputs, "/inputs"),
            *("--dir", "/packages"),
            *read_only(installed_package("recsys"), "/packages/recsys"),
            *("--dir", "/own"),
            *read_only(_ZYGOTE, "/own/zygote"),
            *("--remount-ro", "/", "--chdir", "/"),
        ]
        _lock_memory()
        with words, pages:
            try:
                with first_to_go():
                    self._process = subprocess.Popen(
                        [
                            *(str(working_bwrap()), *options, "--"),
                            # Not -I, which would ignore the fixed seed of hashes below.
                            *(str(interpreter.executable), "-s", "-P", "-B", "-m", "zygote"),
                            *(str(words.fileno()), str(pages.fileno())),
                        ],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE,
                        env={f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
                        | {"PYTHONHASHSEED": "0", "PYTHONPATH": "/own"},
                        pass_fds=[words.fileno(), pages.fileno()],
                        start_new_session=True,
                    )
            except OSError as error:
                self._words.close()
                self._pages.close()
                raise SandboxError(f"the sandbox does not start: {error.strerror}") from None
        self._pages.settimeout(_START_SECONDS)
        try:
            ready = self._pages.recv(1)
        except OSError:
            ready = b""
        if ready != b"r":
            problem = self._problem()
            self._end()
            raise SandboxError(
                f"the sandbox for programs does not start: {problem}. Run `toyfed doctor`"
            )
        self._pages.settimeout(self._limits.wall_seconds + _LAG_SECONDS)

    def _problem(self) -> str:
        assert self._process is not None
        assert self._process.stderr is not None
        self._process.kill()
        lines = os.read(self._process.stderr.fileno(), 4096).decode(errors="replace").splitlines()
        return ascii(lines[-1][:200]) if lines else "nothing was said"

    def _end(self) -> None:
        if self._process is None:
            return
        self._words.close()
        self._pages.close()
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None


def _lock_memory() -> None:
    """Let what is started here keep its libraries in memory, as far as this user may."""
    most = resource.RLIM_INFINITY
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for wanted in ((most, most), (hard, hard)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, wanted)
            return


def _copy_code(code: Path, copy: Path, expected_digest: str | None) -> None:
    files = read_code(code)
    if "main.py" not in files:
        raise ReviewError("expected the code to have a main.py, found none")
    if expected_digest is not None and code_digest(files) != expected_digest:
        raise ReviewError(
            "expected the code that was approved, found other code; ask for a new approval"
        )
    for path, data in files.items():
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
