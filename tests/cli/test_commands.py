"""The table of commands, and what each of them imports before it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from metamon_ext.cli import COMMANDS, main
from tests.conftest import ROOT

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

HEAVY = "torch matplotlib pandas metamon amago poke_env wandb datasets"


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter imports for this code."""
    code = f"import sys; before = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(answer.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["quickstrat"], []])
def test_help_and_a_misspelled_command_import_the_standard_library_only(argv: list[str]) -> None:
    call = f"main({argv})"
    if argv != ["quickstrat"]:  # argparse exits by itself
        call = f"try: {call}\nexcept SystemExit: pass"
    loaded = loaded_by(f"from metamon_ext.cli import main\n{call}")
    others = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    ours = {"metamon_ext", "metamon_ext.about", "metamon_ext.cli", "metamon_ext.errors"}
    assert others == ours


def test_the_help_of_a_command_does_not_wait_for_heavy_libraries() -> None:
    """Nor does a wrong argument, which is found by the same parser."""
    code = "from metamon_ext.cli import COMMANDS, main\n"
    code += "for name in COMMANDS:\n try: main([name, '--help'])\n except SystemExit: pass"
    assert not loaded_by(code) & set(HEAVY.split())


def test_the_help_names_every_command(cli: Cli) -> None:
    said = " ".join(cli("--help", COLUMNS="200").stdout.split())
    assert all(f" {name} {text}" in said for name, text in COMMANDS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_own_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    said = capsys.readouterr().out
    assert said.startswith(f"usage: metamon-ext {command}")
    assert COMMANDS[command] in said


def test_the_module_and_the_script_print_the_same(cli: Cli) -> None:
    script = os.path.join(os.path.dirname(sys.executable), "metamon-ext")
    if not os.access(script, os.X_OK):
        pytest.skip("the package is not installed in this environment")
    for argv in (["--help"], ["play", "--help"], ["play", "--battles", "no"], []):
        by_script = subprocess.run([script, *argv], cwd=ROOT, capture_output=True, text=True)
        by_module = cli(*argv)
        assert by_script.stdout == by_module.stdout and by_script.stderr == by_module.stderr
        assert by_script.returncode == by_module.returncode


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["pley"], "Unknown command 'pley'. Did you mean 'play'?"),
        (["calculate-elo"], "Did you mean 'calculate_elo'?"),
        (["--", "zzz"], "Unknown command 'zzz'. Run metamon-ext --help for the list."),
    ],
)
def test_an_unknown_command_is_refused_with_the_nearest_one(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["--"], ["--json"]])
def test_without_a_command_the_usage_is_printed(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert "usage: metamon-ext" in capsys.readouterr().err
