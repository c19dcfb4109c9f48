"""`metamon-ext evaluate`."""

from __future__ import annotations

from dataclasses import asdict

from metamon_ext.arena.play import print_unfinished
from metamon_ext.cli.flags import Functions, Json
from metamon_ext.terminal import print_json
from metamon_ext.upstream.evaluate import EvaluateConfig, EvaluateResult, evaluate


def evaluate_command(config: EvaluateConfig, as_json: Json = False) -> int:
    """Exit code 1 if an error has left battles unfinished, or none finished against a baseline."""
    result = evaluate(config)
    if as_json:
        scores = [asdict(score) for score in result.scores]
        print_json({"scores": scores, "seconds": round(result.seconds, 1)})
    else:
        print_scores(result)
    failed = print_unfinished(result.rows)
    return failed or int(any(s.wins + s.losses + s.ties == 0 for s in result.scores))


def print_scores(result: EvaluateResult) -> None:
    """One line a matchup."""
    width = max(len(score.agent) for score in result.scores)
    columns = "win rate   95 % interval   W-L-T"
    print(f"{'format':<10}{'agent':<{width}}  {'baseline':<24} {columns}")
    for s in result.scores:
        print(
            f"{s.battle_format:<10}{s.agent:<{width}}  {s.baseline:<24} {s.win_rate:>7.1%}   "
            f"{s.low:>5.1%} to {s.high:<6.1%} {s.wins}-{s.losses}-{s.ties}"
        )
    print(f"{len(result.rows)} battles in {result.seconds:.0f} s")


FUNCTIONS: Functions = {"evaluate": evaluate_command}
