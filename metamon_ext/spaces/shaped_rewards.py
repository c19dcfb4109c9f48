"""Rewards that say more than who won: a shaped one that changes nothing, and the margin."""

from __future__ import annotations

import gin

from metamon_ext.spaces.rewards import outcome
from metamon_ext.spaces.universal import UniversalState

TEAM_SIZE = 6


def pokemon_left(state: UniversalState) -> tuple[int, int]:
    """How many Pokémon can still fight: our own, and the opponent's."""
    team = [state.player_active_pokemon, *state.available_switches]
    return sum(pokemon.hp_pct > 0 for pokemon in team), state.opponents_remaining


@gin.configurable(module="metamon_ext")
class PotentialShapedReward:
    """Win or loss, plus potential-based shaping (Ng, Harada and Russell 1999).

        r(s, s') = scale (outcome(s') + F(s, s')),    F(s, s') = gamma Phi(s') - Phi(s)

        Phi(s) = material (n - m) / 6 + health (h - k) / 6 + status (j - i) / 6
        Phi(s) = 0 where the battle is won or lost

    n, m: Pokémon left to us and to the opponent; h, k: their HP, 1 a Pokémon; i, j: how many of
    ours have a status, and whether the opposing active one has. A state shows nothing of the
    opponent's bench but its number, so Phi takes it to be healthy. The three weights are in parts
    of a win.

    F telescopes: over a battle of T decisions its discounted sum is gamma^T Phi(s_T) - Phi(s_0),
    which is -Phi(s_0) when it ends in a win or a loss, whatever was done. So every policy is worth
    what it was worth without F, up to a constant, and the best one is still the best. Two limits:

    - `gamma` must be the discount of the policy that acts (`Agent.gamma` of AMAGO; its default is
      ours). For critics of other discounts, the shaping is not exactly neutral.
    - A battle cut off by a turn limit keeps gamma^T Phi(s_T), since its last state looks like any
      other: being ahead then is worth something, where outcome alone pays nothing.

    Metamon's own rewards pay 100 for a win; `scale = 100` is of their size.
    """

    def __init__(
        self,
        gamma: float = 0.999,
        scale: float = 1.0,
        material: float = 0.5,
        health: float = 0.4,
        status: float = 0.1,
    ) -> None:
        self.gamma = gamma
        self.scale = scale
        self.material = material
        self.health = health
        self.status = status

    def __call__(self, last_state: UniversalState, state: UniversalState) -> float:
        return self.scale * (outcome(state) + self.shaping(last_state, state))

    def shaping(self, last_state: UniversalState, state: UniversalState) -> float:
        """F(s, s')."""
        return self.gamma * self.potential(state) - self.potential(last_state)

    def potential(self, state: UniversalState) -> float:
        """Phi(s)."""
        if outcome(state):
            return 0.0
        team = [state.player_active_pokemon, *state.available_switches]
        foe = state.opponent_active_pokemon
        own_left, foes_left = pokemon_left(state)
        own_health = sum(pokemon.hp_pct for pokemon in team)
        foes_health = foes_left - (foe.hp_pct > 0) + foe.hp_pct
        ailing = sum(_has_status(pokemon.status) for pokemon in team)
        return (
            self.material * (own_left - foes_left)
            + self.health * (own_health - foes_health)
            + self.status * (_has_status(foe.status) - ailing)
        ) / TEAM_SIZE


def _has_status(status: str) -> bool:
    return status not in ("nostatus", "fnt")


@gin.configurable(module="metamon_ext")
class MarginReward:
    """Win or loss, scaled by the margin of victory: a terminal reward.

        r(s, s') = scale outcome(s') ((1 - weight) + weight max(0, d) / 6)

    d: how many Pokémon more the winner has left than the loser (after a forfeit both have some).
    With `weight` in [0, 1] every win pays more than every loss; at 0 this is `WinLossReward`. What
    one player gets, the other pays. Unlike shaping it does change the optimal policy: a sure
    narrow win may be given up for a likely wide one.
    """

    def __init__(self, scale: float = 1.0, weight: float = 0.5) -> None:
        self.scale = scale
        self.weight = weight

    def __call__(self, last_state: UniversalState, state: UniversalState) -> float:
        won = outcome(state)
        own_left, foes_left = pokemon_left(state)
        margin = max(0, won * (own_left - foes_left)) / TEAM_SIZE
        return self.scale * won * (1 - self.weight + self.weight * margin)
