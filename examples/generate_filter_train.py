"""Generate battles, filter them, train on them, and compare the result with its teacher."""

from __future__ import annotations

import argparse
from pathlib import Path

import metamon_ext as mx

POPULATION = {"simple_heuristics": 2.0, "simple_heuristics?epsilon=0.4": 2.0, "max_base_power": 1.0}
"""Policy -> weight. Players of mixed strength leave something to tell apart."""


def main(output_dir: Path, num_battles: int, steps: int) -> None:
    """Run the loop once. Each step is skipped, or resumed, if its result is there."""
    raw, clean = output_dir / "raw", output_dir / "clean"
    generated = mx.generate(
        mx.GenerateConfig(
            opponents=POPULATION, num_battles=num_battles, team_set="sample", output_dir=raw
        )
    )
    print(f"{generated.manifest['trajectories']} trajectories generated")
    report, stats = mx.filter_trajectories(raw, clean, mx.FilterConfig(min_turns=5))
    print(f"{stats['kept_files']} kept; the data are {report.verdict}")
    run = output_dir / "run"
    policy = mx.train(mx.TrainConfig(data_dir=clean, output_dir=run, steps=steps))
    print(f"trained: {policy.name} (fingerprint {policy.fingerprint[:8]})")
    played = mx.play(
        mx.PlayConfig(
            p1=policy.name,
            p2="simple_heuristics",
            num_battles=max(2, num_battles // 10),
            pairs=True,
            output_dir=output_dir / "play",
        )
    )
    print("won {p1_wins}, lost {p2_wins}, tied {ties}".format(**played.summary))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("runs/generate_filter_train"))
    parser.add_argument("--num_battles", type=int, default=500)
    parser.add_argument("--steps", type=int, default=500, help="of training")
    args = parser.parse_args()
    main(args.output_dir, args.num_battles, args.steps)
