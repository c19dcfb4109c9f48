"""Commands that play say alike that battles failed: exit code 1, and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from metamon_ext.arena.battle import OVER_TURN_LIMIT
from metamon_ext.arena.play import print_unfinished
from metamon_ext.arena.rows import BattleRow
from metamon_ext.cli import main
from metamon_ext.errors import RunStopped

FAILS = "tests.support.arena_policies:Raising"
COMMANDS = {
    "play": f"play --p1 {FAILS} --p2 random --battles 2",
    "generate": f"generate_selfplay_data --model {FAILS} --num_battles 2 --team_set sample "
    "--output_dir {out}",
    "tournament": f"self_play_tournament --models {FAILS} random --battles_per_matchup 2 "
    "--team_set sample --output_dir {out}",
}


def row(score: float | None, reason: str = "") -> BattleRow:
    return BattleRow(
        *("key", score, reason, 1, 1, 1, 0, 0, "", "a", "b"),
        *("gen1ou", "", 1000, "", 0, 0, 0, "team", "team"),
    )


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_exit_code_1_and_one_line_where_every_battle_failed(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.format(out=tmp_path).split(), "--workers", "1"]) == 1
    assert capsys.readouterr().err == (
        f"metamon-ext: every battle failed, 2 of 2 by: {FAILS}: "
        "RuntimeError('out of memory, say')\n"
    )


def test_the_most_common_reason_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    rare, common = row(None, "rare"), row(None, "common")
    with pytest.raises(RunStopped, match="every battle failed, 2 of 3 by: common"):
        print_unfinished([rare, common, common])
    assert print_unfinished([rare, common, common, row(1.0)]) == 1
    lines = "unfinished, 2 times: common\nunfinished, 1 times: rare\n"
    assert capsys.readouterr().err == lines


def test_a_turn_limit_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    long = row(None, f"{OVER_TURN_LIMIT}5 turns")
    assert print_unfinished([long, long]) == print_unfinished([row(0.5)]) == 0
    assert print_unfinished([]) == 0
    assert print_unfinished([long, row(None, "an error")]) == 1
