"""Observation spaces over universal states."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import NamedTuple

import gin
import numpy as np
from numpy.typing import NDArray

from metamon_ext.spaces.actions import (
    FIRST_SWITCH,
    FIRST_TERA,
    NUM_ACTIONS,
    move_order,
    switch_order,
)
from metamon_ext.spaces.mechanics import (
    HAZARDS,
    SCREENS,
    STATUSES,
    WEATHERS,
    MoveFacts,
    MoveKey,
    Stats,
    acts_first,
    best_power,
    damage,
    effectiveness,
    gen_of,
    guessed_moves,
    move_facts,
    move_key,
    power_of,
    stats_of,
)
from metamon_ext.spaces.universal import UniversalMove, UniversalPokemon, UniversalState

TYPES = (
    "normal", "fire", "water", "electric", "grass", "ice", "fighting", "poison", "ground",
    "flying", "psychic", "bug", "rock", "ghost", "dragon", "dark", "steel", "fairy", "stellar",
)  # fmt: skip
EFFECTS = ("substitute", "reflect", "lightscreen", "confusion", "leechseed", "partiallytrapped")
CONDITIONS = (*HAZARDS, *SCREENS, "tailwind")

MOVE_FEATURES = (
    "is_move", "tera", "power", "accuracy", "priority", "physical", "special", "pp",
    "effectiveness", "stab", "damage", "damage_to_hp", "knocks_out", "moves_first", "redundant",
    "sleep", "paralysis", "freeze", "burn", "poison", "confusion",
    "heal", "boost_offense", "boost_defense", "boost_speed", "foe_drops",
    "drain", "recoil", "fixed_damage", "self_destruct", "recharge", "charge", "trap", "hazard",
    "screen", "seed", "substitute", "protect", "weather", "phaze", "pivot", "one_hit_ko",
)  # fmt: skip
SWITCH_FEATURES = (
    "is_switch", "hp", "par", "slp", "frz", "brn", "psn", "tox", "faster",
    "damage", "damage_to_hp", "threat", "threat_to_hp", "threat_effectiveness",
    "base_hp", "base_atk", "base_def", "base_spa", "base_spd", "base_spe",
    "can_sleep", "can_paralyze", "can_heal", "can_self_destruct", "can_boost",
)  # fmt: skip
_POKEMON_FEATURES = (
    "hp", "level", *STATUSES,
    "atk_boost", "spa_boost", "def_boost", "spd_boost", "spe_boost", "accuracy_boost",
    "evasion_boost", "base_hp", "base_atk", "base_def", "base_spa", "base_spd", "base_spe",
    *EFFECTS, "other_effect", "known_moves", *TYPES,
)  # fmt: skip
_PREVIOUS_MOVE_FEATURES = ("power", "is_status", "recharge", "charge", "self_destruct")
STATE_FEATURES = (
    "gen", "decision", "forced_switch", "can_tera",
    "own_left", "opponent_left", "opponent_seen", "own_hp_left", "opponent_hp_left",
    "own_statuses", "opponent_statuses", "opponent_asleep", "opponent_frozen", "decisions_facing",
    "faster", "speed_ratio", "best_damage", "best_damage_to_hp", "threat", "threat_to_hp",
    "rain", "sun", "sandstorm", "hail", "other_weather", "trick_room", "other_field",
    *(f"own_{name}" for name in (*CONDITIONS, "other_condition")),
    *(f"opponent_{name}" for name in (*CONDITIONS, "other_condition")),
    *(f"own_previous_{name}" for name in _PREVIOUS_MOVE_FEATURES),
    *(f"opponent_previous_{name}" for name in _PREVIOUS_MOVE_FEATURES),
    *(f"own_active_{name}" for name in _POKEMON_FEATURES),
    *(f"opponent_active_{name}" for name in _POKEMON_FEATURES),
)  # fmt: skip


class _Matchup(NamedTuple):
    """The opposing active Pokémon as every action has to reckon with it."""

    gen: int
    opponent: UniversalPokemon
    stats: Stats
    moves: tuple[MoveKey, ...]
    trick_room: bool

    def best_hit(self, attacker: UniversalPokemon, stats: Stats) -> float:
        """Damage of the attacker's best move, as a fraction of the opponent's full HP."""
        moves = tuple(map(move_key, attacker.moves))
        power = best_power(self.gen, moves, attacker.types, attacker.base_spe, self.opponent.types)
        return damage(power, stats, attacker.lvl, self.stats)

    def threat(self, defender: UniversalPokemon, stats: Stats) -> float:
        """Damage of the opponent's best known or likely move, as a fraction of full HP."""
        foe = self.opponent
        power = best_power(self.gen, self.moves, foe.types, foe.base_spe, defender.types)
        return damage(power, self.stats, foe.lvl, stats)

    def faster(self, stats: Stats) -> float:
        """Whether a Pokémon of these stats acts before the opponent, see `acts_first`."""
        return acts_first(stats, self.stats, self.trick_room)


@gin.configurable(module="metamon_ext")
class MatchupObservationSpace:
    """Numbers for a small model: the situation, and each of the 13 actions on its own.

    What a large model learns from names, a small one is told: type effectiveness, expected damage,
    who moves first, what a move inflicts on this very opponent and whether that can still work.

        {"state": float32 (len(STATE_FEATURES),),
         "actions": float32 (13, len(MOVE_FEATURES) + len(SWITCH_FEATURES))}

    A move fills the first columns of its row, a switch the others; rows without an action are 0.
    Damage and threat are estimated from base stats (see `mechanics`), nothing is hidden knowledge.

    What earlier states of the battle showed of the opponent's team is remembered: call `reset`
    between battles, and give every state of a battle once, in order.
    """

    state_dim = len(STATE_FEATURES)
    action_dim = len(MOVE_FEATURES) + len(SWITCH_FEATURES)

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the battle."""
        self._seen: dict[str, tuple[float, str]] = {}  # opponent -> HP and status when last seen
        self._decisions = 0
        self._facing = 0

    def __call__(self, state: UniversalState) -> dict[str, NDArray[np.float32]]:
        return self.state_to_obs(state)

    def state_to_obs(self, state: UniversalState) -> dict[str, NDArray[np.float32]]:
        """Observe the next state of the battle."""
        self._remember(state)
        gen = gen_of(state.format)
        player, opponent = state.player_active_pokemon, state.opponent_active_pokemon
        stats, foe_stats = stats_of(player, gen), stats_of(opponent, gen)
        known = tuple(map(move_key, opponent.moves))
        if len(known) < 4:
            known += guessed_moves(gen, opponent.types)
        matchup = _Matchup(gen, opponent, foe_stats, known, state.battle_field == "trickroom")
        moves = move_order(player.moves[:4])

        actions = np.zeros((NUM_ACTIONS, self.action_dim), dtype=np.float32)
        if not state.forced_switch:
            for index, move in enumerate(moves):
                row = self._move_row(state, matchup, stats, move, player.types, 0.0)
                actions[index, : len(row)] = row
                if state.can_tera:
                    row = self._move_row(state, matchup, stats, move, player.tera_type, 1.0)
                    actions[FIRST_TERA + index, : len(row)] = row
        bench = switch_order(state.available_switches)[: FIRST_TERA - FIRST_SWITCH]
        for index, pokemon in enumerate(bench, start=FIRST_SWITCH):
            actions[index, len(MOVE_FEATURES) :] = _switch_row(matchup, pokemon)
        return {"state": self._state_row(state, matchup, stats), "actions": actions}

    def _remember(self, state: UniversalState) -> None:
        opponent = state.opponent_active_pokemon
        newcomer = opponent.base_species not in self._seen
        same = not newcomer and next(reversed(self._seen)) == opponent.base_species
        self._seen.pop(opponent.base_species, None)  # the last entry is the active one
        self._seen[opponent.base_species] = (opponent.hp_pct, opponent.status)
        self._facing = self._facing + 1 if same else 0
        self._decisions += 1

    def _foe_has(self, status: str) -> bool:
        return any(hp > 0 and seen == status for hp, seen in self._seen.values())

    def _move_row(
        self,
        state: UniversalState,
        matchup: _Matchup,
        stats: Stats,
        move: UniversalMove,
        types: str,
        tera: float,
    ) -> list[float]:
        gen, player, opponent = matchup.gen, state.player_active_pokemon, matchup.opponent
        facts = move_facts(gen, move.name)
        multiplier = effectiveness(gen, move.move_type, opponent.types)
        stab_types = f"{player.types} {types}" if tera else types
        power = power_of(gen, move_key(move), stab_types, player.base_spe, opponent.types)
        hit = (
            damage(power, stats, player.lvl, matchup.stats)
            if power.physical or power.special or power.fixed
            else 0.0
        )
        if hit and _screened(move.category, opponent, state.opponent_conditions):
            hit *= 0.5
        lands = move.accuracy if opponent.status == "nostatus" and multiplier else 0.0
        heal = min(facts.heal, 1.0 - player.hp_pct)
        offense = _room(facts.boost_offense, max(player.atk_boost, player.spa_boost))
        defense = _room(facts.boost_defense, max(player.def_boost, player.spd_boost))
        speed = _room(facts.boost_speed, player.spe_boost)
        sleep = 0.0 if self._foe_has("slp") else facts.sleep * lands
        status = move.category == "status"
        inflicts = lands and (sleep or facts.paralysis or facts.burn or facts.poison)
        works = inflicts or heal or offense or defense or speed or facts.leaves
        redundant = status and (not works or _in_place(state, facts))
        return [
            1.0,
            tera,
            move.base_power / 100,
            move.accuracy,
            move.priority / 3,
            float(move.category == "physical"),
            float(move.category == "special"),
            move.current_pp / move.max_pp if move.max_pp else 0.0,
            multiplier / 2,
            float(move.move_type in stab_types),
            min(hit, 2.0),
            min(hit / max(opponent.hp_pct, 0.01), 2.0),
            float(hit * 0.92 >= opponent.hp_pct),  # the lowest roll is 0.85 / 0.925 of the mean
            1.0 if move.priority > 0 else 0.0 if move.priority < 0 else matchup.faster(stats),
            float(redundant),
            sleep,
            facts.paralysis * lands,
            facts.freeze * lands,
            facts.burn * lands,
            facts.poison * lands,
            facts.confusion * move.accuracy * (opponent.effect != "confusion"),
            heal,
            offense / 2,
            defense / 2,
            speed / 2,
            facts.foe_drops,
            *_flags(facts),
        ]

    def _state_row(
        self, state: UniversalState, matchup: _Matchup, stats: Stats
    ) -> NDArray[np.float32]:
        player, opponent = state.player_active_pokemon, matchup.opponent
        team = [player, *state.available_switches]
        seen = self._seen.values()
        unseen = 6 - len(self._seen)
        hit, threat = matchup.best_hit(player, stats), matchup.threat(player, stats)
        weather = [0.0] * 5
        if state.weather != "noweather":
            weather[WEATHERS.get(state.weather, 4)] = 1.0
        return np.array(
            [
                matchup.gen / 9,
                min(self._decisions, 100) / 50,
                float(state.forced_switch),
                float(state.can_tera),
                sum(p.hp_pct > 0 for p in team) / 6,
                state.opponents_remaining / 6,
                len(self._seen) / 6,
                sum(p.hp_pct for p in team) / 6,
                (unseen + sum(hp for hp, _ in seen)) / 6,
                sum(p.hp_pct > 0 and p.status != "nostatus" for p in team) / 6,
                sum(hp > 0 and status != "nostatus" for hp, status in seen) / 6,
                float(self._foe_has("slp")),
                float(self._foe_has("frz")),
                min(self._facing, 10) / 10,
                matchup.faster(stats),
                max(-2.0, min(2.0, math.log2(stats.spe / matchup.stats.spe))),
                min(hit, 2.0),
                min(hit / max(opponent.hp_pct, 0.01), 2.0),
                min(threat, 2.0),
                min(threat / max(player.hp_pct, 0.01), 2.0),
                *weather,
                float(matchup.trick_room),
                float(not matchup.trick_room and state.battle_field != "nofield"),
                *_one_hot(CONDITIONS, state.player_conditions, "noconditions"),
                *_one_hot(CONDITIONS, state.opponent_conditions, "noconditions"),
                *_previous_move_row(matchup.gen, state.player_prev_move),
                *_previous_move_row(matchup.gen, state.opponent_prev_move),
                *_pokemon_row(player),
                *_pokemon_row(opponent),
            ],
            dtype=np.float32,
        )


@cache
def _one_hot(names: tuple[str, ...], name: str, nothing: str) -> list[float]:
    """One column a name, and one for any other that is not `nothing`."""
    row = [float(name == known) for known in names]
    return [*row, float(name != nothing and name not in names)]


@cache
def _type_row(types: str) -> list[float]:
    known = types.split()
    return [float(one in known) for one in TYPES]


@cache
def _flags(facts: MoveFacts) -> list[float]:
    """The columns of a move row that no situation changes."""
    return [
        facts.drain,
        facts.recoil,
        facts.fixed_damage,
        *map(
            float,
            (
                facts.self_destruct,
                facts.recharge,
                facts.charge,
                facts.trap,
                facts.hazard,
                facts.screen,
                facts.seed,
                facts.substitute,
                facts.protect,
                facts.weather,
                facts.phaze,
                facts.pivot,
                facts.one_hit_ko,
            ),
        ),
    ]


@lru_cache(maxsize=65536)
def _capabilities(gen: int, names: tuple[str, ...]) -> list[float]:
    facts = [move_facts(gen, name) for name in names]
    return [
        float(any(f.sleep for f in facts)),
        float(any(f.paralysis for f in facts)),
        float(any(f.heal for f in facts)),
        float(any(f.self_destruct for f in facts)),
        float(any(f.boost_offense + f.boost_defense + f.boost_speed > 1 for f in facts)),
    ]


@lru_cache(maxsize=65536)
def _species_row(hp: int, atk: int, defense: int, spa: int, spd: int, spe: int) -> list[float]:
    return [stat / 100 for stat in (hp, atk, defense, spa, spd, spe)]


def _base_stats_row(p: UniversalPokemon) -> list[float]:
    return _species_row(p.base_hp, p.base_atk, p.base_def, p.base_spa, p.base_spd, p.base_spe)


def _pokemon_row(p: UniversalPokemon) -> list[float]:
    return [
        p.hp_pct,
        p.lvl / 100,
        *_one_hot(STATUSES, p.status, "nostatus")[:-1],
        p.atk_boost / 3,
        p.spa_boost / 3,
        p.def_boost / 3,
        p.spd_boost / 3,
        p.spe_boost / 3,
        p.accuracy_boost / 3,
        p.evasion_boost / 3,
        *_base_stats_row(p),
        *_one_hot(EFFECTS, p.effect, "noeffect"),
        len(p.moves) / 4,
        *_type_row(p.types),
    ]


def _switch_row(matchup: _Matchup, pokemon: UniversalPokemon) -> list[float]:
    gen, opponent = matchup.gen, matchup.opponent
    stats = stats_of(pokemon, gen)
    hit, threat = matchup.best_hit(pokemon, stats), matchup.threat(pokemon, stats)
    return [
        1.0,
        pokemon.hp_pct,
        *_one_hot(STATUSES, pokemon.status, "nostatus")[:6],
        matchup.faster(stats),
        min(hit, 2.0),
        min(hit / max(opponent.hp_pct, 0.01), 2.0),
        min(threat, 2.0),
        min(threat / max(pokemon.hp_pct, 0.01), 2.0),
        _worst_effectiveness(gen, opponent.types, pokemon.types) / 2,
        *_base_stats_row(pokemon),
        *_capabilities(gen, tuple(move.name for move in pokemon.moves)),
    ]


@cache
def _worst_effectiveness(gen: int, attacker_types: str, defender_types: str) -> float:
    return max(effectiveness(gen, one, defender_types) for one in attacker_types.split())


def _previous_move_row(gen: int, move: UniversalMove) -> list[float]:
    facts = move_facts(gen, move.name)
    return [
        move.base_power / 100,
        float(move.category == "status"),
        float(facts.recharge),
        float(facts.charge),
        float(facts.self_destruct),
    ]


def _screened(category: str, defender: UniversalPokemon, conditions: str) -> bool:
    screen = "reflect" if category == "physical" else "lightscreen"
    return screen in (defender.effect, conditions) or conditions == "auroraveil"


def _room(stages: float, boost: int) -> float:
    """How many of these stages can still be gained; losses count in full."""
    return min(stages, 6 - boost)


def _in_place(state: UniversalState, facts: MoveFacts) -> bool:
    """Whether the lasting condition that a move sets up is there already."""
    if not facts.leaves:
        return False
    if facts.on_foe:
        there = (state.opponent_conditions, state.opponent_active_pokemon.effect)
    else:
        there = (state.player_conditions, state.player_active_pokemon.effect)
    return facts.leaves in (*there, state.weather)
