"""What a small model cannot easily work out of names: numbers to add to an observation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from metamon_ext.spaces.actions import move_order
from metamon_ext.spaces.mechanics import acts_first, effectiveness, gen_data, gen_of, stats_of
from metamon_ext.spaces.universal import UniversalMove, UniversalState

MOVES = 4
PAD = -2.0
"""Metamon's number for what is not there."""
LONG_WEATHER = 8
"""Turns; from then on it is called long."""

MATCHUP_NUMBERS = (
    *(f"own_move_{i}_effectiveness" for i in range(MOVES)),
    *(f"opponent_move_{i}_effectiveness" for i in range(MOVES)),
    "outspeeds",
    "weather_turns",
)


class MatchupNumbers:
    """The numbers named in MATCHUP_NUMBERS, float32, of each state of a battle.

    - Type effectiveness (0 to 4; 1 is neutral) of our moves on the opposing active Pokémon, in
      the order of the actions, and of its revealed moves on ours in the same order; -2 for a move
      that is not there or not known. Types only: abilities and items are in the text.
    - `outspeeds`: 1 if our active Pokémon is the faster one by base stats, level, boosts,
      paralysis and trick room, 0 if it is the slower one, 0.5 if that cannot be said.
    - `weather_turns`: how many turns the weather has been seen, the current one included, in
      eighths and at most 1; 0 without weather.

    A state names the weather, not its age, so this counts: `reset` between battles, and give
    every state of a battle in order. The same state object given twice counts once.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the battle."""
        self._weather = "noweather"
        self._weather_turns = 0
        self._last_state: UniversalState | None = None

    def __call__(self, state: UniversalState) -> NDArray[np.float32]:
        if state is not self._last_state:
            self._last_state = state
            self._count_weather(state)
        gen = gen_of(state.format)
        own, foe = state.player_active_pokemon, state.opponent_active_pokemon
        numbers = [
            *_multipliers(gen, own.moves, foe.types),
            *_multipliers(gen, foe.moves, own.types),
            acts_first(stats_of(own, gen), stats_of(foe, gen), state.battle_field == "trickroom"),
            self._weather_age(state),
        ]
        return np.array(numbers, dtype=np.float32)

    def _count_weather(self, state: UniversalState) -> None:
        if state.weather != self._weather:
            self._weather, self._weather_turns = state.weather, 0
        if not state.forced_switch:  # which is another decision in the same turn
            self._weather_turns += 1

    def _weather_age(self, state: UniversalState) -> float:
        if state.weather == "noweather":
            return 0.0
        return min(max(self._weather_turns, 1) / LONG_WEATHER, 1.0)


def _multipliers(gen: int, moves: Sequence[UniversalMove], types: str) -> Iterator[float]:
    ordered = move_order(moves)[:MOVES]
    for move in ordered:
        yield type_multiplier(gen, move.name, move.move_type, move.category, types)
    yield from [PAD] * (MOVES - len(ordered))


@lru_cache(maxsize=65536)
def type_multiplier(
    gen: int, name: str, move_type: str, category: str, defender_types: str
) -> float:
    """What the defender's types make of a move.

    A damaging move has its multiplier. One whose damage is fixed, or which does none, works (1) or
    does not (0), and most status moves mind no type. Hidden Power counts as neutral, because a
    state does not say which type it has.
    """
    if name == "hiddenpower":
        return 1.0
    move = gen_data(gen).moves.get(name, {})
    multiplier = effectiveness(gen, move_type, defender_types)
    status = category == "status"
    if status or any(move.get(key) for key in ("damage", "damageCallback", "ohko")):
        minds_no_type = move.get("ignoreImmunity", status)
        return 1.0 if minds_no_type else float(multiplier > 0)
    return multiplier
