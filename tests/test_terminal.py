"""What is printed, whatever the terminal is and whatever users name their files and runs."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table

from metamon_ext.terminal import console, progress_bar
from tests.conftest import ROOT, cli_command

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

HOSTILE = "[bold]Pokémon[/bold] :dog: [/x] 1.5"
"""A name full of what rich reads as markup, an emoji code, or a number to be colored."""
LEGACY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}


def test_tables_and_lines_print_names_as_they_are() -> None:
    out = io.StringIO()
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    printer = console(file=out, width=200, force_terminal=True, no_color=True)
    printer.print(table)
    printer.print(HOSTILE)
    assert re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).count(HOSTILE) == 4


def test_progress_bars_print_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as bar:
        bar.add_task(HOSTILE, total=1)
    assert HOSTILE in capsys.readouterr().err


def test_one_module_makes_the_consoles(repository: Path) -> None:
    """All others would read markup in the names that they print."""
    progress = r"from rich\.progress import .*\b(track|Progress|TextColumn)\b"
    makers = re.compile(rf"\bConsole\(|rich\.markup|from rich import|{progress}")
    modules = (repository / "metamon_ext").rglob("*.py")
    found = [path.name for path in modules if makers.search(path.read_text(encoding="utf-8"))]
    assert found == ["terminal.py"]


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A folder with two bad files, one of whose names is not even text."""
    folder = tmp_path / "data" / "gen1ou"
    folder.mkdir(parents=True)
    (folder / "Pokémon_[bold]_:dog:.json").write_text("{}")
    os.close(os.open(os.fsencode(folder) + b"/caf\xe9.json", os.O_CREAT))
    return tmp_path / "data"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_are_printed_in_any_encoding(cli: Cli, named: Path, encoding: str) -> None:
    answer = cli("audit", named, PYTHONIOENCODING=f"{encoding}:strict", COLUMNS="100")
    assert answer.returncode == 1 and "Traceback" not in answer.stderr
    assert "mon_[bold]_:dog:.json" in answer.stdout and "caf" in answer.stdout


def test_json_is_ascii_in_any_locale(cli: Cli, named: Path) -> None:
    answer = cli("audit", named, "--json", PYTHONIOENCODING="ascii:strict")
    (example,) = json.loads(answer.stdout)["reasons"]["not_a_trajectory"]["examples"]
    assert "Pokémon_[bold]_:dog:.json" in example
    assert answer.stdout.isascii()


def test_errors_are_printed_in_any_encoding(cli: Cli) -> None:
    answer = cli("play", "--p1", HOSTILE, "--p2", "random", PYTHONIOENCODING="ascii:strict")
    assert answer.returncode == 2 and len(answer.stderr.splitlines()) == 1
    assert "[bold]Pok\\xe9mon[/bold] :dog: [/x] 1.5" in answer.stderr


@pytest.mark.parametrize(
    ("argument", "environment", "fix"),
    [
        (b"caf\xe9", {"PYTHONUTF8": "1"}, "rename it"),
        ("café".encode(), LEGACY, "set PYTHONUTF8=1"),
    ],
    ids=["not UTF-8", "locale C"],
)
def test_an_argument_that_is_no_text_is_refused(
    argument: bytes, environment: dict[str, str], fix: str
) -> None:
    command = [*cli_command(["audit"]), argument]
    answer = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True)
    assert answer.returncode == 2
    (line,) = answer.stderr.decode("ascii").splitlines()
    assert "argument 'caf" in line and fix in line


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    command = f'"$@" {closed}'
    answer = subprocess.run(
        ["sh", "-c", command, "sh", *cli_command(["models"])], cwd=ROOT, capture_output=True
    )
    assert answer.returncode == 0 and answer.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        answer = subprocess.run(
            cli_command(["models"]), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert "standard output" in line and "Free disk space" in line


@pytest.mark.parametrize("argv", [["--help"], ["play", "--help"]])
def test_a_reader_that_has_left_is_no_error(argv: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    answer = subprocess.run(
        cli_command(argv),
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": ""},  # else argparse meets the error, and drops it
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert answer.returncode == 141 and answer.stderr == ""


@pytest.mark.parametrize(
    "environment",
    [{"COLUMNS": "1"}, {"COLUMNS": "0"}, {"TERM": ""}, {"TERM": "no"}, {"TMPDIR": "/nowhere"}],
    ids=str,
)
def test_odd_terminals_and_temporary_folders_do_no_harm(
    cli: Cli, named: Path, environment: dict[str, str]
) -> None:
    answer = cli("audit", named, **environment)
    assert answer.returncode == 1 and answer.stderr == ""
    assert "Verdict" in answer.stdout


def test_ctrl_c_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """While a command waits: here for a pipe that holds no data yet."""
    os.mkfifo(tmp_path / "population.json")
    words = ["generate_selfplay_data", "--population", tmp_path / "population.json"]
    words += ["--num_battles", 1, "--output_dir", tmp_path / "out"]
    process = subprocess.Popen(
        cli_command(words),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    writing = os.open(tmp_path / "population.json", os.O_WRONLY)  # returns once it is being read
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    os.close(writing)
    assert process.returncode == 1
    assert said == "metamon-ext: Interrupted. All files on disk are complete.\n"


@pytest.mark.skipif(os.getuid() == 0, reason="root can write everywhere")
def test_a_current_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    command = [sys.executable, "-m", "metamon_ext", "quickstart"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 2 and "Cannot write runs" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
