"""What a seat knows of its battle, through Metamon's eyes."""

from __future__ import annotations

import itertools
import logging
import re
import warnings
from types import SimpleNamespace
from typing import Any

import metamon.baselines  # noqa: F401  builds poke-env's data, and fails where a battle has done so
from metamon.env.metamon_battle import MetamonBackendBattle, PokeAgentBackendBattle
from metamon.interface import UniversalAction, UniversalState
from poke_env.environment import Battle  # type: ignore[attr-defined]  # the fork's
from poke_env.player import Player

from metamon_ext.upstream.fast_battle import Glance, QuickState, quicken

_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.ERROR)
# "Unknown move ... discovered": it has been understood already
warnings.filterwarnings("ignore", module=r"metamon\.env\.metamon_battle")
_NUMBER = itertools.count(1)
_TURN = re.compile(r"^\|turn\|(\d+)$", re.MULTILINE)
_SILENT = Player.MESSAGES_TO_IGNORE | {"request", "error", "bigerror"}
BACKENDS = {
    "metamon": MetamonBackendBattle,
    "pokeagent": PokeAgentBackendBattle,
    "poke-env": Battle,
}
"""Metamon's `battle_backend` -> the battle object behind it."""


class MetamonTracker:
    """See `metamon_ext.arena.tracking.tracker.Tracker`.

    There are three ways to look at a battle, Metamon's `battle_backend`s. Each is followed only
    from the first look: a baseline needs the stock battle of poke-env and never pays
    for Metamon's parser, a model the other way round. Actions are those of whichever view was
    looked at first, so a battle is the same whether or not its states are recorded as well.
    """

    backend = "metamon"
    """Whose state `state` is; set before the first look."""

    def __init__(self, battle_format: str, gen: int, seat: str) -> None:
        self.turn = 0
        # networks among the baselines tell battles apart by their tag
        self._battle = (f"battle-{battle_format}-{next(_NUMBER)}", seat, gen)
        self._heard: list[str | dict[str, Any]] = []
        self._views: dict[str, View] = {}

    def feed(self, lines: str) -> None:
        """See `Tracker`."""
        for turn in _TURN.findall(lines):
            self.turn = int(turn)
        self._hear(lines)

    def take_request(self, request: dict[str, Any]) -> None:
        """See `Tracker`."""
        self._hear(request)

    @property
    def battle(self) -> Battle:
        """See `Tracker`."""
        return self._view("poke-env").battle

    def state(self) -> UniversalState:
        """See `Tracker`."""
        return self._view(self.backend).state()

    def legal_choices(self) -> dict[int, str]:
        """See `Tracker`."""
        return self._chosen_view().legal_choices()

    def recorded_action(self, choice: str, legal: dict[int, str]) -> int:
        """The views number moves differently where one is locked in: `legal` may be another's."""
        own = self._view(self.backend).legal_choices()
        same = [action for action, other in own.items() if other == choice]
        return next(iter(same or [a for a, other in own.items() if _alike(other, choice)]), -1)

    def action_of(self, order: Any) -> int:
        """See `Tracker`."""
        choice = re.sub(" (dynamax|mega|zmove)$", "", choice_of(order))
        legal = self._chosen_view().legal_choices()
        return next((action for action, other in legal.items() if other == choice), -1)

    def _hear(self, what: str | dict[str, Any]) -> None:
        self._heard.append(what)
        for view in self._views.values():
            view.hear(what)

    def _view(self, backend: str) -> View:
        if backend not in self._views:
            view = View(backend, *self._battle)
            for what in self._heard:
                view.hear(what)
            self._views[backend] = view
        return self._views[backend]

    def _chosen_view(self) -> View:
        return next(iter(self._views.values()), None) or self._view(self.backend)


class View:
    """One battle object, fed as Metamon's and poke-env's players feed theirs."""

    def __init__(self, backend: str, battle_tag: str, seat: str, gen: int) -> None:
        self.battle = BACKENDS[backend](
            battle_tag=battle_tag, username=seat, logger=_LOGGER, gen=gen, save_replays=False
        )
        if backend == "poke-env":
            self._take_line = self._take_line_for_poke_env
        else:
            quicken(self.battle)
            self._take_line = self._take_line_for_metamon
        self._glance = Glance(self.battle)
        self._legal: dict[int, str] | None = None

    def hear(self, what: str | dict[str, Any]) -> None:
        """Take in protocol lines, or a request."""
        self._glance = Glance(self.battle)
        self._legal = None
        if isinstance(what, str):
            for line in what.split("\n"):
                fields = line.split("|")
                if len(fields) > 1:
                    self._take_line(fields)
        else:
            self.battle.parse_request(what)

    def _take_line_for_metamon(self, fields: list[str]) -> None:
        """What `MetamonPlayer._handle_battle_message` does with a line."""
        self.battle.parse_message(fields)
        if fields[1] == "turn":
            del self.battle._mm_battle.turnlist[:-2]

    def _take_line_for_poke_env(self, fields: list[str]) -> None:
        """What `Player._handle_battle_message` does with a line."""
        kind = fields[1]
        if kind == "win":
            self.battle.won_by(fields[2])
        elif kind == "tie":
            self.battle.tied()
        elif fields[3:] == ["move: Skill Swap"]:
            pass  # before Gen 5 it names no abilities, and poke-env takes it that it does
        elif kind not in _SILENT:
            self.battle.parse_message(fields)

    def state(self) -> UniversalState:
        """What this view shows now."""
        return QuickState.from_Battle(self._glance)

    def legal_choices(self) -> dict[int, str]:
        """`UniversalAction.definitely_valid_actions`, with the choice that each of them is."""
        if self._legal is None:
            orders = {
                action.action_idx: action.to_BattleOrder(self._glance)
                for action in UniversalAction.maybe_valid_actions(self._offer())
            }
            self._legal = {i: choice_of(order) for i, order in sorted(orders.items()) if order}
        return self._legal

    def _offer(self) -> SimpleNamespace:
        """The fields of the state that say which actions there may be."""
        battle = self._glance
        bench = [p for p in battle.team.values() if p.fainted == battle.reviving and not p.active]
        return SimpleNamespace(
            forced_switch=battle.force_switch,
            can_tera=battle.can_tera is not None,
            player_active_pokemon=SimpleNamespace(moves=list(battle.active_pokemon.moves)[:4]),
            available_switches=bench,
        )


def _alike(one: str, other: str) -> bool:
    """Stock poke-env names the type of a Hidden Power and the forme of a Sawsbuck, Metamon not."""
    same_kind = len(one.split()) == len(other.split())
    return same_kind and (one.startswith(other) or other.startswith(one))


def choice_of(order: Any) -> str:
    """The simulator's choice for an order of poke-env."""
    return order.message.removeprefix("/choose ")
