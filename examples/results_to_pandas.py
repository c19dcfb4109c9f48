"""Read the battles of a run into a pandas DataFrame.

Needs pandas. `--output_dir` is the folder of any command that plays: a tournament, a gate, a
dataset.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import metamon_ext as mx


def read(output_dir: Path) -> pd.DataFrame:
    """One row for each battle; `score` is that of `player_a`, NaN if the battle is unfinished."""
    return pd.DataFrame(mx.read_results(output_dir / "results.sqlite"))


def win_rates(battles: pd.DataFrame) -> pd.DataFrame:
    """Mean score of the player in the row against the player in the column."""
    reverse = battles.rename(columns={"player_a": "player_b", "player_b": "player_a"})
    reverse["score"] = 1 - reverse["score"]
    both = pd.concat([battles, reverse]).dropna(subset="score")
    return both.pivot_table(index="player_a", columns="player_b", values="score")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True)
    battles = read(parser.parse_args().output_dir)
    print(battles.groupby(["player_a", "player_b"])[["score", "turns"]].mean())
    print(win_rates(battles))
