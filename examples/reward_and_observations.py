"""Train with a reward and an observation space of your own.

Both are classes that are built without arguments. Registered under a name, they can be named in
configs and on the command line; packages register theirs as entry points of the groups
`metamon_ext.rewards` and `metamon_ext.observation_spaces`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import metamon_ext as mx


class FasterWinReward:
    """1 for a win, -1 for a loss, and a small price for every decision."""

    def __init__(self, price: float = 0.001) -> None:
        self.price = price
        self.outcome = mx.WinLossReward()

    def __call__(self, last_state: mx.UniversalState, state: mx.UniversalState) -> float:
        """The reward for going from one state of a battle to the next."""
        return self.outcome(last_state, state) - self.price


class HealthSpace(mx.MatchupObservationSpace):
    """Our own space, and one more number: the HP of all our Pokémon, 0 to 1."""

    state_dim = mx.MatchupObservationSpace.state_dim + 1

    def __call__(self, state: mx.UniversalState) -> dict[str, NDArray[np.float32]]:
        """Observe the next state of a battle."""
        observed = super().__call__(state)
        team = [state.player_active_pokemon, *state.available_switches]
        health = np.float32(sum(pokemon.hp_pct for pokemon in team) / 6)
        return observed | {"state": np.append(observed["state"], health)}


mx.register_reward("FasterWinReward", FasterWinReward)
mx.register_observation_space("HealthSpace", HealthSpace)


def main(data_dir: Path, output_dir: Path, steps: int) -> None:
    """Train, and print where the policy is."""
    policy = mx.train(
        mx.TrainConfig(
            data_dir=data_dir,
            output_dir=output_dir,
            reward_function="FasterWinReward",
            obs_space="HealthSpace",
            steps=steps,
        )
    )
    print(f"trained: {policy.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="a folder of trajectories")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/own_spaces"))
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    main(args.data_dir, args.output_dir, args.steps)
