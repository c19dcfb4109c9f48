"""The observation space of the built-in learner."""

from __future__ import annotations

import math
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
from metamon_ext.spaces.features import (
    MOVE_FEATURES,
    STATE_FEATURES,
    SWITCH_FEATURES,
    MoveNumbers,
    Situation,
    SwitchNumbers,
    condition_row,
    move_flags,
    pokemon_row,
    previous_move,
    switch_row,
    weather_row,
    worst_effectiveness,
)
from metamon_ext.spaces.mechanics import (
    NO_POWER,
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


class _Matchup(NamedTuple):
    """The opposing active Pokémon, as each of our actions has to face it."""

    gen: int
    opponent: UniversalPokemon
    stats: Stats
    moves: tuple[MoveKey, ...]
    trick_room: bool

    @classmethod
    def of(cls, state: UniversalState) -> _Matchup:
        gen, opponent = gen_of(state.format), state.opponent_active_pokemon
        known = tuple(map(move_key, opponent.moves))
        if len(known) < 4:
            known += guessed_moves(gen, opponent.types)
        trick_room = state.battle_field == "trickroom"
        return cls(gen, opponent, stats_of(opponent, gen), known, trick_room)

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

    A large model learns from names what a small one is given as numbers: type effectiveness,
    expected damage, who moves first, what a move inflicts on this opponent, and whether that can
    still work. `metamon_ext.spaces.features` names all of them, with their scaling.

        {"state": float32 (len(STATE_FEATURES),),
         "actions": float32 (13, len(MOVE_FEATURES) + len(SWITCH_FEATURES))}

    A move fills the first columns of its row, a switch the others; rows without an action are 0.
    Damage and threat are estimated from base stats (see `mechanics`); nothing is hidden knowledge.

    The space remembers what earlier states of the battle showed of the opponent's team. Call
    `reset` between battles, and give every state of a battle once, in order.
    """

    state_dim = len(STATE_FEATURES)
    action_dim = len(MOVE_FEATURES) + len(SWITCH_FEATURES)
    features = (*STATE_FEATURES, *MOVE_FEATURES, *SWITCH_FEATURES)

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the battle."""
        self._seen: dict[str, tuple[float, str]] = {}  # opponent -> HP and status when last seen
        self._decisions = 0
        self._facing = 0

    def __call__(self, state: UniversalState) -> dict[str, NDArray[np.float32]]:
        """Observe the next state of the battle."""
        self._remember(state)
        matchup, player = _Matchup.of(state), state.player_active_pokemon
        stats = stats_of(player, matchup.gen)
        actions = np.zeros((NUM_ACTIONS, self.action_dim), dtype=np.float32)
        move_columns = actions[:, : len(MOVE_FEATURES)]
        switch_columns = actions[:, len(MOVE_FEATURES) :]
        if not state.forced_switch:
            for index, move in enumerate(move_order(player.moves[:4])):
                row = self._move_row(state, matchup, stats, move, player.types, 0.0)
                move_columns[index] = row
                if state.can_tera:
                    row = self._move_row(state, matchup, stats, move, player.tera_type, 1.0)
                    move_columns[FIRST_TERA + index] = row
        bench = switch_order(state.available_switches)[: FIRST_TERA - FIRST_SWITCH]
        for index, pokemon in enumerate(bench, start=FIRST_SWITCH):
            switch_columns[index] = switch_row(
                pokemon, _switch_numbers(matchup, pokemon), matchup.gen
            )
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
    ) -> tuple[float, ...]:
        """The columns of MOVE_FEATURES. `types`: of the Pokémon as it uses the move."""
        gen, player, opponent = matchup.gen, state.player_active_pokemon, matchup.opponent
        facts = move_facts(gen, move.name)
        multiplier = effectiveness(gen, move.move_type, opponent.types)
        stab_types = f"{player.types} {types}" if tera else types
        power = power_of(gen, move_key(move), stab_types, player.base_spe, opponent.types)
        hit = damage(power, stats, player.lvl, matchup.stats) if power != NO_POWER else 0.0
        if hit and _screened(move.category, opponent, state.opponent_conditions):
            hit *= 0.5
        lands = move.accuracy if opponent.status == "nostatus" and multiplier else 0.0
        heal = min(facts.heal, 1.0 - player.hp_pct)
        offense = _room(facts.boost_offense, max(player.atk_boost, player.spa_boost))
        defense = _room(facts.boost_defense, max(player.def_boost, player.spd_boost))
        speed = _room(facts.boost_speed, player.spe_boost)
        sleep = 0.0 if self._foe_has("slp") else facts.sleep * lands
        inflicts = lands and (sleep or facts.paralysis or facts.burn or facts.poison)
        works = inflicts or heal or offense or defense or speed or facts.leaves
        redundant = move.category == "status" and (not works or _in_place(state, facts))
        numbers = MoveNumbers(  # by position: 26 keywords would cost a tenth of an observation
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
            _to_hp(hit, opponent),
            float(hit * 0.92 >= opponent.hp_pct),  # the lowest roll: 0.85 / 0.925
            float(move.priority > 0) if move.priority else matchup.faster(stats),
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
        )
        return (*numbers, *move_flags(gen, move.name))

    def _state_row(
        self, state: UniversalState, matchup: _Matchup, stats: Stats
    ) -> NDArray[np.float32]:
        """The columns of STATE_FEATURES."""
        player, opponent = state.player_active_pokemon, matchup.opponent
        team = [player, *state.available_switches]
        seen = self._seen.values()
        unseen = 6 - len(self._seen)
        hit, threat = matchup.best_hit(player, stats), matchup.threat(player, stats)
        situation = Situation(
            gen=matchup.gen / 9,
            decision=min(self._decisions, 100) / 50,
            forced_switch=float(state.forced_switch),
            can_tera=float(state.can_tera),
            own_left=sum(p.hp_pct > 0 for p in team) / 6,
            opponent_left=state.opponents_remaining / 6,
            opponent_seen=len(self._seen) / 6,
            own_hp_left=sum(p.hp_pct for p in team) / 6,
            opponent_hp_left=(unseen + sum(hp for hp, _ in seen)) / 6,
            own_statuses=sum(p.hp_pct > 0 and p.status != "nostatus" for p in team) / 6,
            opponent_statuses=sum(hp > 0 and status != "nostatus" for hp, status in seen) / 6,
            opponent_asleep=float(self._foe_has("slp")),
            opponent_frozen=float(self._foe_has("frz")),
            decisions_facing=min(self._facing, 10) / 10,
            faster=matchup.faster(stats),
            speed_ratio=max(-2.0, min(2.0, math.log2(stats.spe / matchup.stats.spe))),
            best_damage=min(hit, 2.0),
            best_damage_to_hp=_to_hp(hit, opponent),
            threat=min(threat, 2.0),
            threat_to_hp=_to_hp(threat, player),
        )
        columns = (
            *situation,
            *weather_row(state.weather),
            float(matchup.trick_room),
            float(not matchup.trick_room and state.battle_field != "nofield"),
            *condition_row(state.player_conditions),
            *condition_row(state.opponent_conditions),
            *previous_move(matchup.gen, state.player_prev_move),
            *previous_move(matchup.gen, state.opponent_prev_move),
            *pokemon_row(player),
            *pokemon_row(opponent),
        )
        return np.array(columns, dtype=np.float32)


def _switch_numbers(matchup: _Matchup, pokemon: UniversalPokemon) -> SwitchNumbers:
    gen, opponent = matchup.gen, matchup.opponent
    stats = stats_of(pokemon, gen)
    hit, threat = matchup.best_hit(pokemon, stats), matchup.threat(pokemon, stats)
    return SwitchNumbers(
        faster=matchup.faster(stats),
        damage=min(hit, 2.0),
        damage_to_hp=_to_hp(hit, opponent),
        threat=min(threat, 2.0),
        threat_to_hp=_to_hp(threat, pokemon),
        threat_effectiveness=worst_effectiveness(gen, opponent.types, pokemon.types) / 2,
    )


def _to_hp(hit: float, pokemon: UniversalPokemon) -> float:
    """Damage in parts of the HP that a Pokémon has left, at most 2."""
    return min(hit / max(pokemon.hp_pct, 0.01), 2.0)


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
