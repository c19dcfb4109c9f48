"""Other users, users without a home folder, and npm without its registry."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metamon_ext.arena.simulator import process as simulator
from metamon_ext.arena.simulator.npm import explain
from metamon_ext.arena.simulator.process import cache_dir, install_simulator
from metamon_ext.cli import main
from tests.conftest import ROOT

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

NO_USER = 54321
"""A user that no passwd file names, as `docker run --user 54321` makes one."""
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def as_another_user(*argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `metamon-ext ARGV...` as `NO_USER`, without a HOME.

    The interpreter and the libraries may be closed to that user: they are loaded before.
    """
    code = f"""
        import contextlib, io, os, sys
        from metamon_ext.cli import main
        argv = {[str(word) for word in argv]}
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            with contextlib.suppress(Exception):
                main(argv)
        for name in "HOME XDG_CACHE_HOME METAMON_EXT_CACHE_DIR METAMON_EXT_SIMULATOR".split():
            os.environ.pop(name, None)
        os.environ.update({environment})
        os.setgroups([])
        os.setgid({NO_USER})
        os.setuid({NO_USER})
        sys.exit(main(argv))
    """
    env = os.environ | environment
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache folder, open to all, with a `package.json` in the place of the simulator."""
    with tempfile.TemporaryDirectory() as folder:  # `tmp_path` is closed to others
        Path(folder).chmod(0o755)
        name = f"simulator-{simulator.SIMULATOR_VERSION}"
        package = Path(folder) / "cache" / name / "node_modules" / "pokemon-showdown"
        package.mkdir(parents=True)
        (package / "package.json").write_text("{}")
        yield Path(folder) / "cache"


def fake_node(folder: Path, script: str = "") -> str:
    """A Node that only knows its version, with this shell script as the npm beside it."""
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    node = folder / "node"
    node.write_text("#!/bin/sh\necho v20.1.0\n")
    node.chmod(0o755)
    return str(node)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_the_simulators_folder_gets_the_mode_that_the_umask_says(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the arguments of `npm install ... --prefix FOLDER PACKAGE`
    make = 'for word; do [ "$last" = --prefix ] && folder=$word; last=$word; done\n'
    make += 'mkdir -p "$folder/node_modules/pokemon-showdown"\n'
    make += 'echo {} > "$folder/node_modules/pokemon-showdown/package.json"'
    monkeypatch.setenv("METAMON_EXT_NODE", fake_node(tmp_path, make))
    monkeypatch.setenv("METAMON_EXT_CACHE_DIR", str(tmp_path / "cache"))
    before = os.umask(umask)
    try:
        install_simulator()
    finally:
        os.umask(before)
    (installed,) = (tmp_path / "cache").iterdir()
    for folder in (installed, installed / "node_modules"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask


@as_root
@pytest.mark.parametrize(
    "argv",
    [
        ("play", "--p1", "random", "--p2", "random", "--battles", "1"),
        ("setup",),
        ("doctor", "--json"),
    ],
    ids=lambda argv: argv[0],
)
def test_a_simulator_that_another_user_closed_is_named_with_its_fix(
    argv: tuple[str, ...], cache: Path
) -> None:
    (closed,) = cache.iterdir()
    closed.chmod(0o700)
    node = fake_node(cache.parent)
    answer = as_another_user(*argv, METAMON_EXT_CACHE_DIR=str(cache), METAMON_EXT_NODE=node)
    if argv[0] == "doctor":
        checks = {check["name"]: check for check in json.loads(answer.stdout)["checks"]}
        said = "{found}: {fix}".format(**checks["Simulator"])
        assert answer.returncode == 1
    else:
        said = answer.stderr
        assert answer.returncode == 2 and len(said.splitlines()) == 1
    assert f"this user has no permission for {closed}: " in said
    assert f"chmod -R a+rX {closed}" in said and "METAMON_EXT_CACHE_DIR" in said


@as_root
def test_a_folder_above_the_cache_is_not_to_be_opened_to_all(cache: Path) -> None:
    cache.parent.chmod(0o700)
    answer = as_another_user("setup", METAMON_EXT_CACHE_DIR=str(cache))
    assert answer.returncode == 2 and f"no permission for {cache.parent}: set" in answer.stderr
    assert "chmod" not in answer.stderr


def test_no_home_folder_asks_for_a_cache_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def unknown(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "METAMON_EXT_CACHE_DIR", "METAMON_EXT_SIMULATOR"):
        monkeypatch.delenv(name, raising=False)
    assert main(["setup"]) == 2
    said = capsys.readouterr().err
    assert "no home folder" in said and "METAMON_EXT_CACHE_DIR" in said and said.count("\n") == 1
    assert main(["models"]) == 0  # needs no cache
    assert main(["doctor", "--json"]) == 1
    assert "no home folder" in capsys.readouterr().out
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "metamon_ext"
    monkeypatch.setenv("METAMON_EXT_CACHE_DIR", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"


@as_root
def test_a_numeric_user_without_a_home_folder_can_use_a_named_cache(cache: Path) -> None:
    answer = as_another_user("setup")
    assert answer.returncode == 2 and f"user {NO_USER} has no home folder" in answer.stderr
    node = fake_node(cache.parent)
    answer = as_another_user("setup", METAMON_EXT_CACHE_DIR=str(cache), METAMON_EXT_NODE=node)
    assert answer.returncode == 0, answer.stderr
    assert str(cache) in answer.stdout


# npm


def test_a_registry_that_cannot_be_reached_is_named_with_its_fix(cli: Cli, tmp_path: Path) -> None:
    answer = cli(
        "setup",
        METAMON_EXT_CACHE_DIR=str(tmp_path / "cache"),
        npm_config_cache=str(tmp_path / "npm"),
        npm_config_registry="http://127.0.0.1:9",
        npm_config_fetch_retries="0",
        METAMON_EXT_SIMULATOR="",
    )
    assert answer.returncode == 1 and answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert "ECONNREFUSED 127.0.0.1:9" in line
    assert "HTTPS_PROXY" in line and "npm config set registry" in line and "copy " in line
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "npm error code ENOTFOUND\nnpm error syscall getaddrinfo\nnpm error network request to "
            "https://r/x failed, reason: getaddrinfo ENOTFOUND r\nnpm error network This is a\n"
            "npm error A complete log of this run can be found in: /x",
            "npm failed (network request to https://r/x failed, reason: getaddrinfo ENOTFOUND r): "
            "check the network",
        ),
        (
            "npm ERR! code SELF_SIGNED_CERT_IN_CHAIN\nnpm ERR! errno SELF_SIGNED_CERT_IN_CHAIN\n"
            "npm ERR! request to https://r/x failed, reason: self-signed certificate in chain",
            "npm failed (SELF_SIGNED_CERT_IN_CHAIN, request to https://r/x failed, reason: "
            "self-signed certificate in chain): set NODE_EXTRA_CA_CERTS",
        ),
        (
            "npm error code EACCES\nnpm error syscall mkdir\nnpm error path /.npm\nnpm error errno "
            "EACCES\nnpm error Your cache folder has root-owned files",
            "npm failed (EACCES, Your cache folder has root-owned files): set npm_config_cache",
        ),
        (
            "npm error code ENOSPC\nnpm error syscall write\nnpm error errno -28\nnpm error nospc "
            "ENOSPC: no space left on device, write",
            "npm failed (nospc ENOSPC: no space left on device, write): make room",
        ),
        (
            "npm error code E404\nnpm error 404 Not Found - GET http://r/pokemon-showdown",
            "npm failed (E404, 404 Not Found - GET http://r/pokemon-showdown): check the registry",
        ),
        ("", "npm failed (no message): check the network"),
    ],
    ids=["name", "certificate", "permission", "disk", "404", "silent"],
)
def test_npm_is_quoted_with_its_cause(said: str, line: str) -> None:
    assert explain(said, Path("/cache/simulator")).startswith(line)
