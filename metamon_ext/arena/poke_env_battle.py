"""poke-env's battle, fed from the simulator's stream instead of a websocket."""

from __future__ import annotations

import logging
from typing import Any

from poke_env.battle.battle import Battle
from poke_env.battle.effect import Effect
from poke_env.battle.move import Move

# Said by the simulator for a human's eyes or for a server; nothing in them changes the state.
_SILENT = Battle.MESSAGES_TO_IGNORE | {"t:", "inactive", "inactiveoff", "bigerror"}
_EFFECT_MESSAGES = {"-start", "-end", "-activate", "-terastallize", "switch", "drag"}
_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.ERROR)  # poke-env warns of messages that older generations always send
logging.getLogger("poke-env").setLevel(logging.ERROR)


class TrackedBattle(Battle):
    """What one seat knows of its battle.

    Beside what poke-env tracks it remembers some things as Metamon's replay parser does, because
    models were trained on them.
    """

    __slots__ = ("announced_effects", "previous_moves", "showing_tera")

    def __init__(self, battle_format: str, gen: int, seat: str) -> None:
        super().__init__(f"battle-{battle_format}-1", seat, _LOGGER, gen=gen)
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
                self.parse_message(fields)
                if kind in _EFFECT_MESSAGES:
                    self._note_effect(kind, fields)
                if "ability: " in line and kind not in ("-ability", "-curestatus"):
                    self._note_ability(kind, fields)

    def _take_move(self, fields: list[str]) -> None:
        name = fields[3]
        source = next((i for i, field in enumerate(fields) if field.startswith("[from]")), None)
        called = source is not None
        if source is not None:
            if self.gen == 1 and fields[source] == f"[from]{name}":
                fields[source] = "[from]lockedmove"  # Wrap, Sky Attack: it goes on, no PP is spent
            elif fields[source][6:7].isupper():
                fields[source] = f"[from] {fields[source][6:]}"  # the spelling that poke-env knows
            called = fields[source] not in ("[from]lockedmove", "[from] Pursuit")
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
        """As in poke-env, without parsing again what a request repeats of an idle Pokémon."""
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
