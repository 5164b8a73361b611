"""Runs a program for one shopper at a time: the only thing that starts inside the sandbox.

This folder is ToyFed's own and runs alone, without the package around it. It loads numpy and the
public state. Then, for every shopper:

    pristine process  --copies itself-->  the next pristine process, which waits for the next word
          |
          takes the shopper's page, makes a child for the program, times it, and ends

Only a process that was copied *before* it met a shopper goes on. So whatever is learnt of one (how
long her child took, how it ended, which number it had) is in memory that nobody inherits, and
nobody finds how many came before either (`pristine`). The program's first line runs in the child.

The child is process 1 of a namespace of its own, has no open file and can open none, has no right,
no way to write, to wait, to signal, to start anything or to read a clock, and dies with its answer.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import gc
import importlib
import importlib.abc
import importlib.machinery
import io
import json
import mmap
import os
import pathlib
import resource
import signal
import socket
import struct
import sys
import traceback
import types
from typing import Any, NoReturn

import numpy as np

from .answers import ERROR, ROW, encode, leave
from .clocks import real_clock, stop_clocks
from .pristine import wait_and_copy
from .system import copy_process, libc, must

CODE, INPUTS = "/code", "/inputs"
_PRELOADED = {"numpy", "scipy", "recsys", "sklearn"} | set(sys.stdlib_module_names)
_HEAD = struct.Struct("<QQ")
_NEW_PIDS = 0x20000000
_DUMPABLE, _NO_NEW_PRIVS, _AMBIENT, _DEATH = 4, 38, 47, 1
_PROCESS_CLOCK, _MONOTONIC = 2, 1
_PASSES = 2  # one does not drive out everything (measured)
_LOADED, _READABLE, _PRESENT_PAGES = 1, 4, 1


class Program:
    """What is loaded before any shopper is seen: compiled text, public state, settings."""

    def __init__(self) -> None:
        with open(f"{INPUTS}/job.json", encoding="utf-8") as file:
            self.job: dict[str, Any] = json.load(file)
        self.state = _read_state()
        self.arrays = [(name, tuple(shape)) for name, shape in self.job["arrays"]]
        steps = bytes.fromhex(self.job["kernel"]["filter"])
        self._steps = ctypes.create_string_buffer(steps, len(steps))
        self.filter = struct.pack("@HP", len(steps) // 8, ctypes.addressof(self._steps))
        # Ones, so that it is memory of its own and not the kernel's one page of zeros.
        self.ballast = np.ones(3 * self.job["kernel"]["cache_bytes"] // 8, np.uint64)
        self.modules: dict[str, tuple[bool, Any]] = {}
        self.addresses = 0
        self.problem = ""
        try:
            texts = []
            for path in sorted(pathlib.Path(CODE).rglob("*.py")):
                *packages, last = path.relative_to(CODE).with_suffix("").parts
                text = path.read_text(encoding="utf-8")
                compiled = compile(text, path.name, "exec", dont_inherit=True)
                whole = last == "__init__"
                self.modules[".".join(packages if whole else [*packages, last])] = whole, compiled
                texts.append(text)
            for name in list(self.modules):
                for end in (place for place, letter in enumerate(name) if letter == "."):
                    self.modules.setdefault(name[:end], (True, compile("", name[:end], "exec")))
            wanted = _PRELOADED - {name.partition(".")[0] for name in self.modules}
            for text in texts:
                _preload(text, wanted)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self.problem = f"{type(error).__name__}: {error}"


def _warm_up() -> None:
    """Use what programs use, once: numpy loads and sets up much of itself at its first use."""
    for part in ("linalg", "fft", "random", "polynomial", "ma", "rec", "char", "strings"):
        importlib.import_module(f"numpy.{part}")
    some = np.arange(6.0).reshape(3, 2)
    np.unique(np.array([2, 1, 1], np.int32), return_inverse=True, return_counts=True)
    np.unique(np.array([2, 1, 1], np.int32))
    np.bincount(np.array([0, 1]))
    np.linalg.norm(some @ some.T, axis=1)
    np.random.default_rng(0).standard_normal(2)
    encode({"a": some, "b": ([2, 0, 2], some)}, [("a", (3, 2)), ("b", (3, 2))])
    io.StringIO().write("".join(traceback.format_exception_only(ValueError, ValueError())))


def _read_state() -> dict[str, np.ndarray]:
    path = f"{INPUTS}/state.safetensors"
    if not os.path.exists(path):
        return {}
    from safetensors.numpy import load_file

    state = load_file(path)
    for array in state.values():
        array.flags.writeable = False
    return state


def _warm_up_what_was_named() -> None:
    """What libraries look for at their first use, and a child could not open."""
    importlib.import_module("_strptime")
    if "sklearn" in sys.modules:
        from sklearn.utils.parallel import _get_threadpool_controller

        _get_threadpool_controller()
    for name in getattr(sys.modules.get("scipy"), "__all__", ()):
        # Of scipy a program may take a part by its name alone.
        with contextlib.suppress(Exception):
            importlib.import_module(f"scipy.{name}")


def _preload(text: str, wanted: set[str]) -> None:
    """Import the installed packages that the program names, once instead of for every shopper."""
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            # What is imported from a package may be a module of its own.
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.partition(".")[0] in wanted:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


class _OwnModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The program's own files, which were read before any shopper: a child can open none."""

    def __init__(self, modules: dict[str, tuple[bool, Any]]) -> None:
        self._modules = modules

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname not in self._modules:
            return None
        whole, _ = self._modules[fullname]
        return importlib.machinery.ModuleSpec(fullname, self, is_package=whole)

    def exec_module(self, module: types.ModuleType) -> None:
        exec(self._modules[module.__name__][1], module.__dict__)  # noqa: S102 - confined


def _fetch_libraries() -> None:
    """Bring every page of the loaded libraries into memory, and keep them there where one may.

    Whether a page was in memory could else be felt by whoever needs it first.
    """

    class Segment(ctypes.Structure):
        _fields_ = [
            *((name, ctypes.c_uint32) for name in ("type", "flags")),
            *((name, ctypes.c_uint64) for name in ("offset", "start", "physical")),
            *((name, ctypes.c_uint64) for name in ("in_file", "size", "align")),
        ]

    class Loaded(ctypes.Structure):
        _fields_ = [
            ("base", ctypes.c_uint64),
            ("name", ctypes.c_char_p),
            ("segments", ctypes.POINTER(Segment)),
            ("count", ctypes.c_uint16),
        ]

    def look(found: Any, _size: int, _data: Any) -> int:
        library = found.contents
        for number in range(library.count):
            segment = library.segments[number]
            if segment.type == _LOADED and segment.flags & _READABLE:
                ctypes.string_at(library.base + segment.start, segment.size)
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Loaded), ctypes.c_size_t, ctypes.c_void_p)
    libc.dl_iterate_phdr(kind(look), None)
    # Refused where this user may not lock so much: then a machine short of memory may evict them.
    libc.mlockall(_PRESENT_PAGES)


def main() -> None:
    """Answer the trusted side until it closes the channels: words, and pages with their answers."""
    sys.path.append("/packages")
    words, pages = (socket.socket(fileno=int(one)) for one in sys.argv[1:3])
    libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    _stay_on_one_processor()
    program = Program()
    _warm_up()
    with contextlib.suppress(Exception):
        _warm_up_what_was_named()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    _fetch_libraries()
    stop_clocks(program.job["kernel"])
    gc.collect()
    gc.freeze()
    gc.disable()
    # The sandbox lives as long as the process that it was started with: this one, which waits.
    clone = ctypes.c_long(program.job["kernel"]["clone"])
    if copy_process(clone, 0) != 0:
        words.close()
        pages.close()
        while True:
            signal.pause()
    program.addresses = _addresses_in_use()
    pages.send(b"r")
    if wait_and_copy(program.job["kernel"]["machine"], words.fileno()):
        _serve(program, pages, clone)


def _addresses_in_use() -> int:
    """Bytes of address space that this process has taken, by asking where its limit would bite."""
    low, high = 0, 1 << 46
    before = resource.getrlimit(resource.RLIMIT_AS)
    while high - low > 1 << 20:
        middle = (low + high) // 2
        resource.setrlimit(resource.RLIMIT_AS, (middle, before[1]))
        try:
            mmap.mmap(-1, mmap.PAGESIZE).close()
            high = middle
        except OSError:
            low = middle
    resource.setrlimit(resource.RLIMIT_AS, before)
    return high


def _stay_on_one_processor() -> None:
    """Which processor one runs on can be read in many ways, and who ran before has a say in it."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[int.from_bytes(os.urandom(4), "big") % len(processors)]})


def _serve(program: Program, pages: socket.socket, clone: ctypes.c_long) -> NoReturn:
    """See one shopper's child from its page to its end, and end with it."""
    try:
        _, handles, _, _ = socket.recv_fds(pages, 1, 1)
        # What the child before brought into the processor's caches, or drove out of them, would be
        # felt: the limit of processor time tells a program that is just below it how fast it was.
        for _ in range(_PASSES):
            np.add.reduce(program.ballast)
        pid = copy_process(clone, _NEW_PIDS | signal.SIGCHLD)
        if pid == 0:
            _child(program, handles[0])
        if pid > 0:
            _await(pid, program.job)
        pages.send(b"d" if pid > 0 else b"x")
    finally:
        os._exit(0)


def _await(pid: int, job: dict[str, Any]) -> None:
    """Wait for a child's end, and bring it about when its time is over.

    Processor time is what counts, so that other work on this machine takes no row away; it is
    looked at from here, because process 1 of a namespace is spared the signals of its own timers.
    """
    limits, kernel = job["limits"], job["kernel"]
    used, end = 0.0, real_clock(kernel, _MONOTONIC) + limits["wall_seconds"]
    while (left := limits["cpu_seconds"] - used) > 0 and real_clock(kernel, _MONOTONIC) < end:
        # Reported by the kernel when all that the child may have started is gone too.
        if signal.sigtimedwait({signal.SIGCHLD}, left + 0.001) is not None:
            break
        used = real_clock(kernel, ((~pid) << 3) | _PROCESS_CLOCK)
    else:
        os.kill(pid, signal.SIGKILL)
        signal.sigwait({signal.SIGCHLD})
    os.waitpid(pid, 0)


def _child(program: Program, handle: int) -> NoReturn:
    """Take one history, give up everything else, run the program, leave a row, end."""
    status = 1
    try:
        page = mmap.mmap(handle, 0)
        n, wanted = _HEAD.unpack_from(page, 0)
        history = np.frombuffer(page, "<i4", n, _HEAD.size).copy()
        out = _HEAD.size + 4 * n
        printed = io.StringIO()
        sys.stdin = None  # type: ignore[assignment,unused-ignore]
        sys.stdout = sys.stderr = printed
        _confine(program)
        try:
            row = _row(program, history) if wanted else _loaded(program)
            leave(page, out, ROW, row, printed.getvalue())
        except BaseException as error:
            lines = traceback.format_exception_only(type(error), error)
            place = [one for one in traceback.extract_tb(error.__traceback__) if one.lineno]
            where = f" (line {place[-1].lineno} of {place[-1].filename})" if place else ""
            leave(page, out, ERROR, b"", "".join(lines).strip() + where)
        status = 0
    finally:
        os._exit(status)


def _confine(program: Program) -> None:
    """Close every door; any that does not close ends the child before the program is loaded."""
    os.closerange(0, 1 << 12)
    limits, kernel = program.job["limits"], program.job["kernel"]
    for kind, most in (
        (resource.RLIMIT_AS, program.addresses + limits["memory_bytes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_CPU, limits["whole_cpu_seconds"]),
    ):
        resource.setrlimit(kind, (most, most))
    must(libc.prctl(_DEATH, signal.SIGKILL, 0, 0, 0))
    must(libc.prctl(_AMBIENT, 4, 0, 0, 0))
    head, none = struct.pack("=Ii", 0x20080522, 0), b"\0" * 24
    must(libc.capset(head, none))
    must(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    call, filter_mode, none_more = map(ctypes.c_long, (kernel["seccomp"], 1, 0))
    must(libc.syscall(call, filter_mode, none_more, program.filter))


def _loaded(program: Program) -> bytes:
    if program.problem:
        raise ImportError(program.problem)
    # First, and in place of what is loaded: no library stands in for a file of the program's own.
    for name in {*program.modules} & {*sys.modules}:
        del sys.modules[name]
    sys.meta_path.insert(0, _OwnModules(program.modules))
    module = importlib.import_module("main")
    if not callable(getattr(module, "contribution", None)):
        raise ImportError("expected main.py to define contribution(history, state, settings)")
    return b""


def _row(program: Program, history: np.ndarray) -> bytes:
    _loaded(program)
    settings = {
        **program.job["program"],
        "phase": program.job["phase"],
        "n_items": program.job["n_items"],
    }
    found = sys.modules["main"].contribution(history, dict(program.state), settings)
    return encode(found, program.arrays)


if __name__ == "__main__":
    main()
