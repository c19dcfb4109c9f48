"""One run writes an output folder at a time, whichever command it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metamon_ext.arena.rows import read_results
from metamon_ext.arena.store import ResultStore
from metamon_ext.cli import main
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import UserError
from metamon_ext.files import LOCK, lock_folder
from tests.support.battles import result_of
from tests.test_database import result, spec

HOLDER = """
import sys
from pathlib import Path
from metamon_ext.files import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that has locked a folder, until its standard input is closed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout and holder.stdout.readline() == "locked\n"
    return holder


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """An output folder with a run in it that another process is at work on."""
    folder = tmp_path / "out"
    with ResultStore(folder / RESULTS) as store:
        store.add(spec(0), result(0))
    with hold(folder) as holder:
        yield folder, holder
        holder.kill()


def test_the_holder_is_named(held: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, holder = held
    for _ in range(2):  # a refused attempt leaves the name for the next one
        with pytest.raises(UserError) as refusal, lock_folder(folder):
            pass
        assert str(refusal.value) == (
            f"{folder} is in use by another run (process {holder.pid} on {socket.gethostname()}). "
            "Wait for it to end, or choose another folder."
        )


def test_a_killed_holder_leaves_no_lock(held: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, holder = held
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with lock_folder(folder):
        assert f"process {os.getpid()} " in (folder / LOCK).read_text()
    assert (folder / LOCK).read_text() == ""
    with lock_folder(folder):
        pass


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock_folder(tmp_path):
            raise ZeroDivisionError


def test_a_store_that_is_refused_releases_its_folder(tmp_path: Path) -> None:
    path = tmp_path / RESULTS
    path.write_text("not a database, but long enough to be taken for one")
    with pytest.raises(UserError, match="is not a results file"):
        ResultStore(path)
    path.unlink()
    ResultStore(path).close()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"Cannot write .*file"), lock_folder(folder):
            pass


COMMANDS = {
    "play": "play --p1 random --p2 random --battles 1 --resume --output_dir {out}",
    "generate": "generate_selfplay_data --model random --num_battles 1 --team_set sample "
    "--output_dir {out}",
    "tournament": "self_play_tournament --models random max_base_power --team_set sample "
    "--output_dir {out}",
    "gate": "gate --candidate random --base max_base_power --team_set sample --output_dir {out}",
    "quickstart": "quickstart --output_dir {out}",
    "train": "train --data_dir {data} --save_dir {parent} --run_name out",
    "filter": "filter --input_dir {data} --output_dir {out}",
    "cache": "cache build {data} --output {out}",
    "download_pokechamp": "download_pokechamp --source {data} --output-dir {out}",
    "quarantine": "audit {data} --quarantine {out}",
    "visualize_results": "visualize_results --tournament_dir {out} --output_dir {out}",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_every_command_refuses_a_folder_in_use(
    held: tuple[Path, subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
) -> None:
    folder, holder = held
    if command.startswith("cache"):
        (folder / RESULTS).unlink()  # else it is refused as no cache
    data = tmp_path / "data" / "gen1ou"
    data.mkdir(parents=True)
    (data / "x.json").write_text("{}")
    before = {path.name for path in folder.iterdir()}
    arguments = command.format(out=folder, data=data.parent, parent=tmp_path).split()
    assert main(arguments) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith(f"metamon-ext: {folder} is in use by another run (process {holder.pid} on ")
    )
    assert {path.name for path in folder.iterdir()} == before


def test_readers_do_not_mind_a_running_run(tmp_path: Path) -> None:
    with ResultStore(tmp_path / RESULTS) as store:
        for number in range(3):
            store.add(spec(number), result(number))
            assert len(read_results(tmp_path / RESULTS)) == number + 1
        store.add(spec(3), result_of(spec(3), "b"))
        assert main(["calculate_elo", "--tournament_dir", str(tmp_path), "--json"]) == 0
