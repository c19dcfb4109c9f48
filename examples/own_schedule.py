"""A tournament with a schedule of your own: a ladder, in which the winner of a match stays.

Which battles are played is up to you. What has been played is kept, and never played again; add
players or matches and run the script again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import metamon_ext as mx

CHALLENGERS = ("random", "max_base_power", "simple_heuristics?epsilon=0.4", "simple_heuristics")


def main(output_dir: Path, num_battles: int) -> None:
    """Let each challenger play a match against the champion, and print ratings of all."""
    conditions = mx.Conditions.load("gen1ou", team_set="sample")
    with mx.ResultStore(output_dir / "results.sqlite") as store, mx.LocalExecutor() as executor:
        champion, *challengers = CHALLENGERS
        for challenger in challengers:
            specs = mx.matchup(champion, challenger, num_battles, conditions, seed=0, pairs=True)
            games, _ = mx.games_of(mx.play_battles(specs, executor, store))
            score = mx.head_to_head(games, challenger, champion)
            print(f"{challenger} won {score.win_rate:.0%} against {champion}")
            if score.low > 0.5:
                champion = challenger
    games, _ = mx.games_of(mx.read_results(output_dir / "results.sqlite"))
    for rating in mx.bradley_terry(games):
        print(f"{rating.player:<30} {rating.rating:.0f} ({rating.low:.0f} to {rating.high:.0f})")
    print(f"Champion: {champion}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("runs/own_schedule"))
    parser.add_argument("--num_battles", type=int, default=40, help="of each match")
    args = parser.parse_args()
    main(args.output_dir, args.num_battles)
