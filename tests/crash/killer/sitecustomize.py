"""Kills real processes, or sets their clocks, at named places: the product knows nothing of it.

With this folder on PYTHONPATH, a Python process wraps the functions that the plans in the file
TOYFED_KILL_PLANS may name (TOYFED_KILL_TARGETS) as their modules are imported. Each call asks
whether a plan says that this is the place to die; the file may change while the process runs:

    [{"id": "…", "process": text in the command line, "target": "module:Class.function",
      "when": "before" or "after", "match": texts that its arguments, or the job that is being
      handled, must all hold, "armed": a file that must be there or "", "parent": false,
      "jump": seconds from the true time to which the clock is set instead of dying, or 0}, …]

A plan is used once: a file in `PLANS.fired/` says so before the signal is sent. A clock that was
set stays so for the process and its children, in `time.time`, `time.time_ns` and `datetime.now`.
"""

from __future__ import annotations

import datetime
import functools
import importlib.machinery
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

_PLANS = os.environ.get("TOYFED_KILL_PLANS", "")
_HANDLES_A_JOB = "datasites.merchant.service:Service._handle"
_SHIFT = "TOYFED_CLOCK_SHIFT"
_LOOSE = bool(os.environ.get("TOYFED_CLOCK_LOOSE"))
_TELL_THE_TIME = ("recsys", "datasites", "ui", "syft", "syft_client", "syft_job", "syft_perm")
_targets: dict[str, list[str]] = {}
_job: list[str] = [""]


def _may_die(target: str, when: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        with open(_PLANS, encoding="utf-8") as file:
            plans = json.load(file)
    except (OSError, ValueError):
        return
    for plan in plans:
        if (plan["target"], plan["when"]) != (target, when):
            continue
        if plan["process"] not in " ".join(sys.orig_argv):
            continue
        text = f"{args} {kwargs} {_job[0]}"
        if not all(word in text for word in plan["match"]):
            continue
        if plan["armed"] and not os.path.exists(plan["armed"]):
            continue
        try:
            os.close(os.open(f"{_PLANS}.fired/{plan['id']}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        if plan.get("jump"):
            os.environ[_SHIFT] = str(plan["jump"])
            continue
        os.kill(os.getppid() if plan["parent"] else os.getpid(), signal.SIGKILL)


def _wrapped(target: str, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if target == _HANDLES_A_JOB:
            _job[0] = str(args)
        _may_die(target, "before", args, kwargs)
        result = real(*args, **kwargs)
        _may_die(target, "after", args, kwargs)
        if target == _HANDLES_A_JOB:
            _job[0] = ""
        return result

    return wrapper


def _wrap(module: Any) -> None:
    for path in _targets.get(module.__name__, []):
        owner = module
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, name, _wrapped(f"{module.__name__}:{path}", getattr(owner, name)))


def _install() -> None:
    for target in [*json.loads(os.environ["TOYFED_KILL_TARGETS"]), _HANDLES_A_JOB]:
        module, _, path = target.partition(":")
        _targets.setdefault(module, []).append(path)
        if module in sys.modules:
            _wrap(sys.modules[module])
    loader = importlib.machinery.SourceFileLoader
    real = loader.exec_module

    def exec_module(self: Any, module: Any) -> None:
        real(self, module)
        if _LOOSE:
            _loosen(module)
        if module.__name__ in _targets:
            _wrap(module)

    loader.exec_module = exec_module  # type: ignore[method-assign]


def _shift() -> int:
    return int(os.environ.get(_SHIFT, "0"))


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.datetime.now(tz) + datetime.timedelta(seconds=_shift())

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.UTC).replace(tzinfo=None)


def _loosen(module: Any) -> None:
    """Gives a module that tells the time this process's own; compiled ones keep the type."""
    if module.__name__.split(".")[0] in _TELL_THE_TIME:
        for name, value in list(vars(module).items()):
            if value is datetime.datetime:
                setattr(module, name, _Datetime)


def _loosen_the_clock() -> None:
    real_time, real_time_ns = time.time, time.time_ns
    time.time = lambda: real_time() + _shift()
    time.time_ns = lambda: real_time_ns() + _shift() * 10**9


if _PLANS:
    if _LOOSE:
        _loosen_the_clock()
    _install()
