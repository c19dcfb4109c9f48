"""What Metamon's 13 action indices mean: 0-3 moves, 4-8 switches, 9-12 the moves terastallized.

Moves and switches are in alphabetical order, whatever order the game shows them in.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from metamon_ext.spaces.universal import UniversalMove, UniversalPokemon, UniversalState

NUM_ACTIONS = 13
FIRST_SWITCH = 4
FIRST_TERA = 9


@cache
def letters_and_digits(name: str) -> str:
    """Lowercase letters and digits only: how Metamon writes the names of species."""
    return "".join(filter(str.isalnum, name)).lower()


def move_order(moves: Iterable[UniversalMove]) -> list[UniversalMove]:
    """The moves as actions 0-3 (and 9-12) number them."""
    return sorted(moves, key=lambda move: letters_and_digits(move.name))


def switch_order(pokemon: Iterable[UniversalPokemon]) -> list[UniversalPokemon]:
    """The Pokémon on the bench as actions 4-8 number them."""
    return sorted(pokemon, key=lambda one: letters_and_digits(one.name))


def maybe_legal_actions(state: UniversalState) -> list[int]:
    """The actions that the state does not rule out, ascending.

    Metamon's `maybe_valid_actions`: the simulator may still refuse some (no PP, disabled, trapped).
    """
    moves = 0 if state.forced_switch else len(state.player_active_pokemon.moves)
    tera = moves if state.can_tera else 0
    return [
        *range(moves),
        *range(FIRST_SWITCH, FIRST_SWITCH + len(state.available_switches)),
        *range(FIRST_TERA, FIRST_TERA + tera),
    ]
