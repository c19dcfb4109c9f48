"""Play your own policy against the heuristics, and rate it.

A policy is a class with three methods. It is given a batch of decisions, one for each battle that
waits for it, and answers with an action for each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import metamon_ext as mx


class StrongestOfTwo:
    """Draws two legal actions and takes the lower one: moves before switches."""

    def begin(self, battle_id: str) -> None:
        """A battle starts. Policies with memory file it under `battle_id`."""

    def act(self, decisions: Sequence[mx.Decision]) -> list[int]:
        """Choose an action for each decision. Take random numbers from its `rng` only."""
        return [min(d.rng.choices(d.legal_actions, k=2)) for d in decisions]

    def end(self, battle_id: str) -> None:
        """The battle is over."""


mx.register_policy("strongest_of_two", StrongestOfTwo)


def main(output_dir: Path, num_battles: int) -> None:
    """Play a tournament and print the ratings."""
    result = mx.tournament(
        mx.TournamentConfig(
            models=("strongest_of_two", "random", "max_base_power"),
            num_battles=num_battles,
            team_set="sample",
            output_dir=output_dir,
        )
    )
    for rating in result.rated.ratings:
        interval = f"{rating.low:.0f} to {rating.high:.0f}"
        print(f"{rating.player:<20} {rating.rating:.0f} ({interval}) in {rating.games} battles")


if __name__ == "__main__":  # battles run in processes of their own, which import this file
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("runs/own_policy"))
    parser.add_argument("--num_battles", type=int, default=100, help="of each pairing")
    args = parser.parse_args()
    main(args.output_dir, args.num_battles)
