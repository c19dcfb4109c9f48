"""poke-env's battle, fed from the simulator's stream instead of a websocket."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any

from poke_env.battle.battle import Battle
from poke_env.battle.effect import Effect
from poke_env.battle.move import SPECIAL_MOVES, Move
from poke_env.battle.pokemon import Pokemon
from poke_env.battle.pokemon_type import PokemonType
from poke_env.data import GenData

# Said by the simulator for a human's eyes or for a server; nothing in them changes the state.
_SILENT = Battle.MESSAGES_TO_IGNORE | {
    *("t:", "c:", "inactive", "inactiveoff", "bigerror", "error", "message", "-message", "raw"),
    *("uhtmlchange", "b", "B", "noinit", "pm", "tempnotify", "tempnotifyoff", "warning"),
}
_EFFECT_MESSAGES = {"-start", "-end", "-activate", "-terastallize", "switch", "drag"}
_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.ERROR)  # poke-env warns of messages that older generations always send
logging.getLogger("poke-env").setLevel(logging.ERROR)


def belongs_to_a_pokemon(move_id: str, gen: int) -> bool:
    """Whether a Pokémon of this generation can have this move, rather than resort to it.

    Z-moves and max moves count: in hackmons formats they are moves like any other.
    """
    return move_id not in SPECIAL_MOVES and move_id in GenData.from_gen(gen).moves


@cache
def _leave_out_unknown_types(gen: int) -> None:
    """Give the Pokémon of poke-env's data only types it knows: MissingNo.'s Bird is none."""
    for entry in GenData.from_gen(gen).pokedex.values():
        if "types" in entry:
            entry["types"] = _known_types(entry["types"])


def _known_types(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.upper() in PokemonType.__members__] or ["???"]


class TrackedPokemon(Pokemon):
    """A Pokémon that knows all of its moves, Z-moves and max moves among them."""

    __slots__ = ()

    def _add_move(self, move_id: str) -> Move | None:
        move = super()._add_move(move_id)
        known = Move.retrieve_id(move_id)
        if move is None and belongs_to_a_pokemon(known, self.gen):
            move = self.base_moves[known] = Move(known, self.gen)
        return move


class TrackedBattle(Battle):
    """What one seat knows of its battle.

    Beside what poke-env tracks it remembers some things as Metamon's replay parser does, because
    models were trained on them.
    """

    __slots__ = ("announced_effects", "previous_moves", "showing_tera")

    def __init__(self, battle_format: str, gen: int, seat: str) -> None:
        super().__init__(f"battle-{battle_format}-1", seat, _LOGGER, gen=gen)
        _leave_out_unknown_types(gen)
        self._player_role = seat
        self._replay_data = _Discard()
        self.previous_moves: dict[int, str] = {}
        """id(Pokémon) -> move id."""
        self.announced_effects: dict[int, dict[Effect, int]] = {}
        """id(Pokémon) -> effect -> how often it was announced again."""
        self.showing_tera: set[int] = set()
        """id of each Pokémon that has terastallized since it came in."""

    def feed(self, lines: str) -> None:
        """Take in protocol lines, in the simulator's own order."""
        for line in lines.split("\n"):
            fields = line.split("|")
            kind = fields[1] if len(fields) > 1 else ""
            if kind in _SILENT:
                continue
            if kind == "move":
                self._take_move(fields)
            elif kind == "win":
                self.won_by(fields[2])
            elif kind == "tie":
                self.tied()
            else:
                if fields[3:4] == ["typechange"] and not fields[4].startswith("["):
                    fields[4] = "/".join(_known_types(fields[4].split("/")))
                try:
                    self.parse_message(fields)
                except NotImplementedError:
                    continue  # of a kind that poke-env does not know: a client may ignore it
                if kind in _EFFECT_MESSAGES:
                    self._note_effect(kind, fields)
                if "ability: " in line and kind not in ("-ability", "-curestatus"):
                    self._note_ability(kind, fields)

    def get_pokemon(
        self,
        identifier: str,
        force_self_team: bool = False,
        details: str = "",
        request: dict[str, Any] | None = None,
    ) -> Pokemon:
        """As in poke-env, but never take two Pokémon of one species for one with a nickname.

        `bridge.js` sees to it that no two Pokémon of a team have the same name.
        """
        name = identifier[:2] + identifier[identifier.index(":") :]
        mine = force_self_team or name[:2] == self.player_role
        team = self._team if mine else self._opponent_team
        if name not in team:
            about: dict[str, Any] = {"species": name[4:]}
            if request or details:
                about = {"request_pokemon": request} if request else {"details": details}
            team[name] = TrackedPokemon(self.gen, name=name[4:], **about)
        return super().get_pokemon(identifier)

    def _take_move(self, fields: list[str]) -> None:
        name = fields[3]
        source = next((i for i, field in enumerate(fields) if field.startswith("[from]")), None)
        called = source is not None
        if source is not None:
            if self.gen == 1 and fields[source] == f"[from]{name}":
                fields[source] = (
                    "[from]lockedmove"  # Wrap, Sky Attack: it continues, no PP is spent
                )
            elif fields[source][6:7].isupper():
                fields[source] = f"[from] {fields[source][6:]}"  # the spelling that poke-env knows
            called = fields[source] not in ("[from]lockedmove", "[from] Pursuit")
            caller = fields[source].removeprefix("[from] move: ")
            if caller != fields[source]:
                known = self.get_pokemon(fields[2]).moves
                if Move.retrieve_id(caller) not in known:  # it was itself called by another move
                    fields[source] = "[from] Mirror Move"  # poke-env then asks for no caller's PP
        self.parse_message(fields)
        if not called:
            self.previous_moves[id(self.get_pokemon(fields[2]))] = Move.retrieve_id(name)

    def _note_effect(self, kind: str, fields: list[str]) -> None:
        if kind in ("switch", "drag"):
            mine = fields[2][:2] == self.player_role
            for pokemon in (self.team if mine else self.opponent_team).values():
                self.announced_effects.pop(id(pokemon), None)
                self.showing_tera.discard(id(pokemon))
        elif kind == "-terastallize":
            self.showing_tera.add(id(self.get_pokemon(fields[2])))
        elif fields[2] and not (kind == "-activate" and fields[3].startswith("ability:")):
            effect = Effect.from_showdown_message(fields[3])
            effects = self.announced_effects.setdefault(id(self.get_pokemon(fields[2])), {})
            if kind == "-end":
                effects.pop(effect, None)
            elif effect not in effects:
                effects[effect] = 0
            elif effect.is_action_countable:
                effects[effect] += 1

    def _note_ability(self, kind: str, fields: list[str]) -> None:
        """Learn an ability from what it causes; poke-env reads only some of these messages."""
        ability = owner = None
        for field in fields[3:]:
            if field.startswith(("[from] ability: ", "ability: ")):
                ability, owner = field.rpartition(": ")[2], owner or fields[2]
            elif field.startswith("[of] ") and kind != "-heal":
                owner = field.removeprefix("[of] ")
        if ability and owner and owner[:1] == "p":
            pokemon = self.get_pokemon(owner)
            if pokemon.ability is None:
                pokemon.ability = ability

    def _update_team_from_request(
        self, side: dict[str, Any], strict_battle_tracking: bool = False
    ) -> None:
        """As in poke-env, without parsing again what a request repeats of an idle Pokémon.

        Where one picks fewer Pokémon than one brings, the team becomes those that were picked.
        """
        picked = {entry["ident"] for entry in side["pokemon"]}
        self._team = {name: pokemon for name, pokemon in self._team.items() if name in picked}
        for entry in side["pokemon"]:
            known = self._team.get(entry["ident"])
            if known is None or known.active != entry["active"]:
                super()._update_team_from_request(side, strict_battle_tracking)
                return
        for entry in side["pokemon"]:
            pokemon = self._team[entry["ident"]]
            if pokemon.active or pokemon._last_request != entry:
                pokemon.update_from_request(entry)


class _Discard(list[list[str]]):
    """Takes the place of the replay that poke-env keeps of every battle."""

    def append(self, _: list[str]) -> None:
        pass
