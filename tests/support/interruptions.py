"""Runs that are killed or find the disk full, and processes that must end with them."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT


@dataclass(frozen=True)
class Ended:
    """A process that has ended. `killed`: it was still running when the signal was sent."""

    killed: bool
    pid: int
    returncode: int
    stdout: str
    stderr: str


def kill_when(
    reached: Callable[[], bool],
    command: Sequence[object],
    signal_number: signal.Signals = signal.SIGKILL,
    with_workers: bool = True,
) -> Ended:
    """Start a command, send it a signal as soon as a condition holds, and wait for its end.

    Args:
        with_workers: Send the signal to all processes of the command.
    """
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a background process ignores Ctrl-C, and its children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not reached():
        time.sleep(0.005)
    killed = process.poll() is None
    if killed:
        (os.killpg if with_workers else os.kill)(process.pid, signal_number)
    stdout, stderr = process.communicate()
    return Ended(killed, process.pid, process.returncode, stdout, stderr)


def wait_until_ended(running: Callable[[], object]) -> None:
    """Wait for processes that end by themselves when their parent is gone."""
    deadline = time.monotonic() + 120
    while running():
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def running(session: int) -> list[int]:
    """The running processes of a session, without those that have ended and are not collected."""
    return [pid for pid, its_session in _processes() if its_session == session]


def is_running(pid: int) -> bool:
    """Whether a process runs, and is not merely waiting to be collected."""
    return pid in dict(_processes())


def _processes() -> Iterator[tuple[int, int]]:
    """Process id and session of all processes that have not ended."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session, *_ = stat.read_text().rpartition(")")[2].split()
            if state != "Z":
                yield int(stat.parent.name), int(session)


def disk_full(*_: object) -> None:
    """In the place of a function that writes: fail as on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond a size: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def on_a_full_disk(command: Sequence[str], room: int) -> subprocess.CompletedProcess[str]:
    """Run a command that can make no file larger than so many bytes."""
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
