"""What a name or a flag tells is told before Metamon is loaded, and standard error is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.upstream.finetuning import flags, run
from tests.upstream.fresh_runs import RNN, empty_run, fresh_run

HEAVY = ("torch", "metamon", "amago", "gym", "gymnasium", "poke_env")
SCRIPT = """
import contextlib, io, json, sys
from metamon_ext.cli import main
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
        code = main(words)
    loaded = [name for name in sys.argv[2:] if name in sys.modules]
    print(json.dumps([code, said.getvalue(), loaded]))
"""


def answers(workplace: Path, cwd: Path, *commands: list[str]) -> list[tuple[int, str, list[str]]]:
    """For each command, in one process: its exit code and output, and what is loaded after it."""
    answer = run(workplace, "-c", SCRIPT, json.dumps(commands), *HEAVY, cwd=cwd)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    return [json.loads(line) for line in answer.stdout.splitlines()]


def test_wrong_input_is_one_line_before_anything_is_loaded(workplace: Path, here: Path) -> None:
    empty_run(Path("runs/run"), RNN, 1, 2)

    def finetune(run_name: str = "new", **more: object) -> list[str]:
        return ["finetune", *flags(workplace, run_name, **{"save_dir": "runs"} | more)]

    wrong = [
        (finetune(run_name=""), "Run name '' is empty"),
        (finetune(epochs=0), "epochs must be a whole number of at least 1, not 0."),
        (finetune(formats="gen1oo"), "No format 'gen1oo' in --custom_replay_dir"),
        (finetune(custom_replay_dir=None), "No data"),
        (
            finetune(replay_weight=1, formats="gen1oo"),
            "No format 'gen1oo' in Metamon's human replays (--replay_weight 0: without them). Did "
            "you mean 'gen1ou'?",
        ),
        (
            finetune(self_play_subsets="pac-bas"),
            "Unknown self-play subset 'pac-bas'. Did you mean 'pac-base'?",
        ),
        (finetune(cached="x"), "--cached and --custom_replay_dir exclude each other"),
        (finetune(reward_function="BinaryRewards"), "Did you mean 'BinaryReward'?"),
        (finetune(train_gin_config="binary_rll"), "Did you mean 'binary_rl'?"),
        (finetune(finetune_from_model="Minikazm"), "Did you mean 'Minikazam'?"),
        (finetune(finetune_from_model="run_Epoch2"), "policy_epoch_2.pt is empty"),
        (finetune(finetune_from_checkpoint=41), "cannot be downloaded (offline). Here: 40."),
        (finetune(save_dir="runs/run/train.gin"), "is a file. Name another --save_dir"),
        (finetune(epochs=10**9), "Not enough disk space for 1000000000 checkpoints"),
        (["play", "--p1", "run_Epoch1?temp=1", "--p2", "random"], "has no option 'temp'"),
        (["play", "--p1", "Grunts", "--p2", "random"], "Did you mean 'Grunt'?"),
        (["evaluate", "--agent", "run"], "Did you mean 'run_Epoch2'?"),
        (["adopt", "runs/nowhere"], "is not the folder of a run"),
        (["adopt", "runs/run", "--base_model", "Minikazm"], "Did you mean 'Minikazam'?"),
    ]
    for (words, says), (code, said, loaded) in zip(
        wrong, answers(workplace, here, *(words for words, _ in wrong)), strict=True
    ):
        assert code == 2, words
        (line,) = said.splitlines()
        assert says in line
        assert loaded == [], words


def test_models_are_listed_and_identified_without_being_loaded(workplace: Path, here: Path) -> None:
    empty_run(Path("runs/run"), RNN, 1)
    code = (
        "import sys, metamon_ext as mx; model = mx.PolicyRef.resolve('Minikazam'); "
        "assert len(model.describe()['sha256']) == 64; "
        "assert model.with_options(temperature=2.0).name == 'Minikazam?temperature=2.0'; "
        f"assert not [name for name in {HEAVY} if name in sys.modules]"
    )
    answer = run(workplace, "-c", code, cwd=here)
    assert (answer.returncode, answer.stderr) == (0, "")
    ((code_of_list, said, loaded),) = answers(workplace, here, ["models"])
    assert (code_of_list, loaded) == (0, [])
    assert "  run_Epoch1\n" in said and "  Minikazam\n" in said and "  Grunt\n" in said


def test_a_battle_prints_nothing_of_metamons(workplace: Path, here: Path) -> None:
    """Nor do the processes of its workers."""
    fresh_run(Path("runs"), "run", RNN)
    words = ("play", "--p1", "run_Epoch1", "--p2", "Grunt", "--battles", "2", "--workers", "1")
    answer = run(workplace, "-m", "metamon_ext.cli", *words, cwd=here)
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    assert len(answer.stdout.splitlines()) == 2


def test_doctor_is_content_with_this_stack(workplace: Path, here: Path) -> None:
    answer = run(workplace, "-m", "metamon_ext.cli", "doctor", "--json", cwd=here)
    checks = {check["name"]: check for check in json.loads(answer.stdout)["checks"]}
    assert answer.stderr == ""
    for name in ("Metamon", "Metamon's data", "AMAGO", "poke-env", "METAMON_CACHE_DIR"):
        assert checks[name]["status"] == "ok", checks[name]
    for name in ("--reward_function", "Metamon's evaluation"):
        assert checks[name]["status"] == "note", checks[name]


def test_what_others_print_goes_to_the_file(tmp_path: Path) -> None:
    """From Python, from its descriptors and from child processes; the terminal is ours."""
    script = f"""
import os, subprocess, sys
from pathlib import Path
from metamon_ext.upstream.quiet import print_to
with print_to(Path({str(tmp_path / "log.txt")!r})) as terminal:
    print("a"); print("b", file=sys.stderr); os.write(1, b"c\\n"); os.write(2, b"d\\n")
    subprocess.run([sys.executable, "-c", "print('e')"])
    print("ours", file=terminal)
print("out"); print("err", file=sys.stderr)
"""
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ
    )
    assert (answer.stdout, answer.stderr) == ("out\n", "ours\nerr\n")
    assert (tmp_path / "log.txt").read_text().split() == ["a", "b", "c", "d", "e"]


def test_output_is_given_back_when_the_block_fails(tmp_path: Path) -> None:
    from metamon_ext.upstream.quiet import print_to

    streams = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), print_to(tmp_path / "log.txt"):
        _ = 1 / 0
    assert (sys.stdout, sys.stderr) == streams


def test_a_log_on_a_full_disk_stops_nothing() -> None:
    from metamon_ext.upstream.quiet import print_to

    with print_to(Path("/dev/full")):
        print("lost", flush=True)
        print("lost", file=sys.stderr)
