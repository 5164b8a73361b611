"""A filter of system calls: closes the kernel's doors that namespaces leave open.

Denied are sockets of every family (virtual-machine sockets pass by network namespaces), kernel
keyrings (which are not in a namespace), new namespaces, mounting, tracing, BPF, io_uring,
anonymous memory files (counted in no process's memory), and the administrator's calls. Denied too
is what tells, by files that the merchant's other programs use as well, what those are doing: the
page cache, watches, locks and leases. Of the requests to devices and file systems (ioctl) a few
harmless ones are left; others would tell a disk's name. The program is classic BPF as seccomp(2)
takes it.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final, NamedTuple

__all__ = ["filter_program"]


class _Machine(NamedTuple):
    audit_arch: int
    column: int
    clone: int


_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 0, 56),
    "aarch64": _Machine(0xC00000B7, 1, 220),
}
# Name: number on x86_64, number on aarch64 (-1: no such call).
_DENIED: Final[dict[str, tuple[int, int]]] = {
    "socket": (41, 198),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "personality": (135, 92),
    "mincore": (27, 232),
    "cachestat": (451, 451),
    "preadv2": (327, 286),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "inotify_init": (253, -1),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "flock": (73, 32),
    "splice": (275, 76),
    "tee": (276, 77),
    "vmsplice": (278, 75),
    "semget": (64, 190),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "vhangup": (153, 58),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "listmount": (458, 458),
    "statmount": (457, 457),
    "lsm_get_self_attr": (459, 459),
    "lsm_set_self_attr": (460, 460),
    "lsm_list_modules": (461, 461),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
}
_CLONE3: Final = 435
_X32_BIT: Final = 0x40000000
# Requests of fcntl: F_SETLEASE, F_GETLEASE, F_NOTIFY.
_FCNTL: Final = (72, 25)
_DENIED_FCNTL: Final = (1024, 1025, 1026)
# Requests of ioctl that are let through: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_IOCTL: Final = (16, 29)
_ALLOWED_IOCTL: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NAMESPACE_FLAGS: Final = 0x7E020000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24


def filter_program(machine: str | None = None) -> bytes | None:
    """Return the filter for this kind of machine, or None for kinds that have none here.

    Args:
        machine: As `platform.machine()` names it; the running machine by default.
    """
    kind = _MACHINES.get(machine or platform.machine())
    if kind is None:
        return None
    denied = _step(_RETURN, _ERRNO | errno.EPERM)
    steps = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, kind.audit_arch, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        # The x32 numbers of x86_64 would name the same calls a second time.
        _step(_AT_LEAST, _X32_BIT, 0, 1),
        denied,
        # clone3 takes its flags from memory that a filter cannot read; libc falls back to clone.
        _step(_EQUAL, _CLONE3, 0, 1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for numbers in _DENIED.values():
        if numbers[kind.column] >= 0:
            steps += [_step(_EQUAL, numbers[kind.column], 0, 1), denied]
    no_such = _step(_RETURN, _ERRNO | errno.ENOTTY)
    allow = _step(_RETURN, _ALLOW)
    steps += _by_second_argument(_IOCTL[kind.column], _ALLOWED_IOCTL, allow, no_such)
    steps += _by_second_argument(_FCNTL[kind.column], _DENIED_FCNTL, denied, allow)
    steps += [
        _step(_EQUAL, kind.clone, 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _NAMESPACE_FLAGS, 0, 1),
        denied,
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def _by_second_argument(
    number: int, listed: tuple[int, ...], then: bytes, otherwise: bytes
) -> list[bytes]:
    """For one call: `then` where its second argument is on the list, else `otherwise`."""
    checks = [part for value in listed for part in (_step(_EQUAL, value, 0, 1), then)]
    # The list, and the load before and the return after it.
    return [
        _step(_EQUAL, number, 0, len(checks) + 2),
        _step(_LOAD, _SECOND_ARGUMENT),
        *checks,
        otherwise,
    ]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
