"""The process that holds learner code. It is started as a script, so that the rest of minidiff is not in it.

It imports torch once, gives up its rights, and then forks a fresh child for every exercise. The child takes the
learner's function out of the notebook, calls it on the cases and writes what came out to a pipe. References and
expected answers never come here.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import running
import sandbox
import torch
import wire

sys.path.pop(0)


def send(sock: socket.socket, message: dict) -> None:
    data = json.dumps(message).encode()
    sock.sendall(struct.pack("<I", len(data)) + data)


def start(sock: socket.socket, wall: float) -> None:
    """Give up rights, say which, and serve until the grader closes its end."""
    import einops  # noqa: F401
    import numpy  # noqa: F401

    torch.set_num_threads(1)
    used = sandbox.in_use()
    home = sandbox.namespaces()
    if home:  # the next child is the first process of its own world: when it ends, all in it end
        child = os.fork()
        if child:
            sock.close()
            os.waitpid(child, 0)
            os._exit(0)
        sandbox.die_with_parent()
    rights = {"namespaces": home, "landlock": sandbox.landlock(sandbox.readable())}
    gc.collect()
    gc.freeze()
    send(sock, rights)
    while True:
        _, handles, _, _ = socket.recv_fds(sock, 4, 2)
        if len(handles) < 2:
            os._exit(0)
        send(sock, attend(sock, *handles, home, used, wall))


def attend(sock: socket.socket, job: int, handle: int, home: bool, used: tuple[int, int], wall: float) -> dict:
    """Fork a child for this job, wait until it ends or its time is up, and leave nothing of it behind."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            sock.close()
            os.setpgid(0, 0)
            answer(job, handle, used)
        finally:
            os._exit(3)
    os.close(job)
    os.close(handle)
    limit = began + wall
    timed_out = False
    watch = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            timed_out = timed_out or usage.ru_utime + usage.ru_stime > sandbox.CPU - 0.5
            break
        if time.monotonic() > limit and not timed_out:
            timed_out = True
            os.kill(child, signal.SIGKILL)
        wait = max(0.0, min(limit - time.monotonic(), 1.0)) if watch and not timed_out else 0.01
        for ready in select.select([sock] + ([watch] if watch else []), [], [], wait)[0]:
            if ready is sock:  # nothing is said here meanwhile, so the grader is gone
                os.kill(child, signal.SIGKILL)
                os._exit(0)
    if watch:
        os.close(watch)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(-1 if home else -child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while home and os.waitpid(-1, 0):
            pass
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "timed_out": timed_out, "seconds": round(time.monotonic() - began, 3)}


def answer(job: int, handle: int, used: tuple[int, int]) -> None:
    """In the child: read the job, run it and write one frame."""
    for name in ("SIGTERM", "SIGINT", "SIGPIPE"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    with os.fdopen(job, "rb") as file:
        request = wire.unpack(file.read())
    sandbox.limits(used)
    sealed = sandbox.seccomp()
    if "probe" in request:
        reply = {"state": "ok", "sealed": sealed, "found": sandbox.attempts(*request["probe"])}
    else:
        reply = respond(request)
    data = wire.pack(reply)
    for start in range(0, len(data), 2**20):
        part = data[start : start + 2**20]
        while part:
            part = part[os.write(handle, part) :]
    os._exit(0)


def respond(request: dict) -> dict:
    try:
        tree, left_out = running.extract(request["cells"], request["function"], tuple(request["allowed"]))
    except running.NotFound as error:
        return {"state": "not_attempted", "message": str(error)}
    try:
        function = running.load(tree, request["function"])
        results = [running.call(function, args, gradients) for args, gradients in request["cases"]]
    except MemoryError:
        return {"state": "memory", "message": "ran out of memory"}
    except BaseException as error:  # SystemExit among them
        return {"state": "student_error", "message": running.short(running.describe(error))}
    errors = [r["error"] for r in results if r["error"]]
    if len(errors) == len(results) and left_out:
        return {"state": "student_error", "message": running.short(f"{errors[0]}; {left_out[0]}")}
    return {"state": "ok", "results": results}


if __name__ == "__main__":
    start(socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2]))
