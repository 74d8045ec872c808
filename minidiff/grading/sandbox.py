"""What learner code may not do, enforced by the kernel: Landlock, namespaces, seccomp and resource limits.

This file stands alone: the worker imports it without the rest of minidiff. Everything here gives up rights of
the calling process for good. Each part returns whether it took hold, and `attempts` tries them out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

WALL, MEMORY, OUTPUT = 10.0, 2 * 2**30, 8 * 2**20  # seconds, bytes, bytes: for one exercise
CPU = WALL + 2  # seconds of all threads together

LINUX = sys.platform == "linux"
_LIBC = ctypes.CDLL(None, use_errno=True) if LINUX else None
_NEWUSER, _NEWPID, _NEWNET, _NEWIPC, _THREAD = 0x10000000, 0x20000000, 0x40000000, 0x08000000, 0x00010000
_PDEATHSIG, _NO_NEW_PRIVS, _SECCOMP = 1, 38, 22
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3

# System calls that are refused: (x86_64, aarch64), -1 where there is none. Grouped: processes and signals,
# sockets, other processes' memory, the kernel's own doors.
_REFUSED = {
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mount": (165, 40),
    "umount2": (166, 39),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "memfd_create": (319, 279),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "open_by_handle_at": (304, 265),
}
_MACHINES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}  # column, audit number, clone
_CLONE3 = 435


def namespaces() -> bool:
    """Leave the network, the other processes and the users behind; holds for the next child as to processes."""
    return LINUX and _LIBC.unshare(_NEWUSER | _NEWPID | _NEWNET | _NEWIPC) == 0


def die_with_parent() -> None:
    if LINUX:
        _LIBC.prctl(_PDEATHSIG, 9, 0, 0, 0)


def readable() -> list[Path]:
    """What Python and torch still read after they were imported: their own libraries."""
    places = [Path(p) for p in {sys.prefix, sys.base_prefix, "/usr/lib", "/lib", "/lib64", "/usr/local/lib"}]
    return [p for p in [*places, Path("/etc/ld.so.cache"), Path("/dev/null"), Path("/dev/urandom")] if p.exists()]


def landlock(places: list[Path]) -> bool:
    """From now on only these places can be read, nothing written, no TCP used, and nobody outside signalled."""
    if not LINUX or (version := _LIBC.syscall(_LANDLOCK_CREATE, None, 0, 1)) < 1:
        return False
    rights = (1 << {1: 13, 2: 14}.get(version, 15 if version < 5 else 16)) - 1
    fields = [rights] + ([3] if version >= 4 else []) + ([3] if version >= 6 else [])
    attributes = struct.pack(f"<{len(fields)}Q", *fields)
    rules = _LIBC.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return False
    try:
        for place in places:
            handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
            allowed = _READ_FILE | (_READ_DIR if place.is_dir() else 0)
            done = _LIBC.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("<Qi", allowed, handle), 0)
            os.close(handle)
            if done:
                return False
        _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
        return _LIBC.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0
    finally:
        os.close(rules)


def seccomp() -> bool:
    """Refuse new processes, signals, sockets and the rest of _REFUSED with an error; threads stay allowed."""
    if not LINUX or platform.machine() not in _MACHINES:
        return False
    column, audit, clone = _MACHINES[platform.machine()]
    refuse, allow, no_such = 0x00050001, 0x7FFF0000, 0x00050026
    steps = [(0x20, 0, 0, 4), (0x15, 1, 0, audit), (0x06, 0, 0, refuse), (0x20, 0, 0, 0)]
    steps += [(0x35, 0, 1, 0x40000000), (0x06, 0, 0, refuse)]  # the second set of calls of x86_64
    for numbers in _REFUSED.values():
        if numbers[column] >= 0:
            steps += [(0x15, 0, 1, numbers[column]), (0x06, 0, 0, refuse)]
    steps += [(0x15, 0, 1, _CLONE3), (0x06, 0, 0, no_such)]  # then libc asks for a thread through clone
    steps += [(0x15, 0, 3, clone), (0x20, 0, 0, 16), (0x45, 1, 0, _THREAD), (0x06, 0, 0, refuse), (0x06, 0, 0, allow)]
    code = b"".join(struct.pack("<HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(buffer))
    _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    return _LIBC.prctl(_SECCOMP, 2, program, 0, 0) == 0


def in_use() -> tuple[int, int]:
    """(address space, data) of this process in bytes, (0, 0) where the system does not say."""
    status = Path("/proc/self/status")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
    address, data = (int(lines.get(name, "0").split()[0]) * 1024 for name in ("VmSize", "VmData"))
    return address, data


def limits(used: tuple[int, int], memory: int = MEMORY) -> None:
    """At most so much more memory than `used`, no large file, no core, and little more processor time."""
    import resource

    wanted = {
        "RLIMIT_AS": used[0] + memory if used[0] else 4 * memory,
        "RLIMIT_DATA": used[1] + memory if used[1] else 4 * memory,
        "RLIMIT_CPU": int(CPU),
        "RLIMIT_FSIZE": OUTPUT,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 64,
        "RLIMIT_NOFILE": 64,
    }
    for name, value in wanted.items():
        if hasattr(resource, name):
            which = getattr(resource, name)
            hard = resource.getrlimit(which)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with contextlib.suppress(ValueError, OSError):  # macOS refuses some of them
                resource.setrlimit(which, (value, value))


def attempts(secret: str, victim: int, places: list[list[str]]) -> dict[str, bool]:
    """Which of `doors` can be opened from here, and which of these (name, path) can be read."""

    def succeeds(action) -> bool:
        try:
            return bool(action())
        except BaseException:
            return False

    def read(path: str) -> bool:
        return os.listdir(path) is not None if Path(path).is_dir() else Path(path).read_bytes() is not None

    hidden = {f"read a {name}": partial(read, path) for name, path in places}
    return {name: succeeds(action) for name, action in (doors(secret, victim) | hidden).items()}


def doors(secret: str, victim: int) -> dict[str, Callable[[], object]]:
    """What must not succeed: to read a planted file, write, connect, fork, signal, and so on.

    secret: a file that the grader planted. victim: the process id of the grader.
    """
    import signal
    import socket
    import subprocess
    import tempfile

    def read(path: object) -> str:
        return Path(str(path)).read_text()

    def write(path: object) -> int:
        return Path(str(path)).write_text("x")

    def forked() -> bool:
        child = os.fork()
        if child == 0:
            os._exit(0)
        return child > 0

    return {
        "read a file of the grader": lambda: read(secret),
        "list the folder of the grader": lambda: os.listdir(Path(secret).parent),
        "read /etc/passwd": lambda: read("/etc/passwd"),
        "read the home folder": lambda: os.listdir(Path.home()),
        "read the root folder": lambda: os.listdir("/"),
        "read /proc": lambda: os.listdir("/proc"),
        "read the environment of the grader": lambda: read(f"/proc/{victim}/environ"),
        "read its own memory map": lambda: read("/proc/self/maps"),
        "write to /tmp": lambda: write("/tmp/minidiff-probe"),
        "write beside the secret": lambda: write(f"{secret}.probe"),
        "make a temporary file": lambda: tempfile.mkstemp(),
        "write to the libraries": lambda: write(Path(os.__file__).parent / "probe"),
        "make a link": lambda: os.symlink(secret, "/tmp/minidiff-probe-link") is None,
        "open a socket": lambda: socket.socket(),
        "connect to this machine": lambda: socket.create_connection(("127.0.0.1", 22), 0.2),
        "look up a name": lambda: socket.getaddrinfo("example.org", 80),
        "connect to a local socket": lambda: socket.socketpair(),
        "start a process": forked,
        "run a program": lambda: subprocess.run(["/bin/true"]).returncode == 0,
        "signal the grader": lambda: os.kill(victim, 0) is None,
        "signal its parent": lambda: os.kill(os.getppid(), 0) is None,
        "signal everybody": lambda: os.kill(-1, signal.SIGCONT) is None,
        "trace its parent": lambda: _LIBC.ptrace(16, os.getppid(), 0, 0) == 0,
        "raise its limits": lambda: __import__("resource").setrlimit(2, (-1, -1)) is None,
    }
