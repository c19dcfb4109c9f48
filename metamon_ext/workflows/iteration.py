"""One iteration of the loop: generate, filter, train, race, gate, tables, decision.

The stages that `psro` has too are in `metamon_ext.workflows.stages`. Beside what they write, an
iteration's folder holds

    plan.json          the champion, and the weights of its opponents
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import Executor
from metamon_ext.evaluation.games import Game, Games, HeadToHead, games_of, head_to_head
from metamon_ext.evaluation.meta_solvers import explore, prioritized
from metamon_ext.evaluation.payoffs import PayoffMatrix
from metamon_ext.evaluation.racing import Race
from metamon_ext.evaluation.schedules import fixed
from metamon_ext.workflows.iterate_config import AUTO, IterateConfig
from metamon_ext.workflows.stages import Line, Run, Stages, reason_of

HEURISTICS = ("simple_heuristics", "max_base_power")
"""Opponents of every champion, and of the tables."""

EXPLORATION = 0.2
"""The share of the champion's battles that its opponents have in equal parts."""


@dataclass(frozen=True)
class IterateRun(Run):
    """What all iterations of `iterate` share.

    Attributes:
        held_out: the conditions of each held-out team set.
        population: opponents and their weights; None: chosen by results.
    """

    config: IterateConfig
    held_out: Sequence[Conditions]
    population: Mapping[str, float] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """See `Run`."""
        teams = [conditions.teams_id for conditions in [*self.training, *self.held_out]]
        return super().settings | {
            "population": self.population or AUTO,
            "teams": teams,
            "fingerprint of the base": self.player(self.config.base).fingerprint,
        }


class Iteration(Stages):
    """An iteration in its folder.

    Args:
        run: what all iterations share.
        history: the lines of the iterations before.
    """

    def __init__(self, run: IterateRun, history: Sequence[Line]) -> None:
        super().__init__(run, history)
        self._run: IterateRun = run
        self._config: IterateConfig = run.config
        self._champion = history[-1]["champion"] if history else run.config.base

    def play(self) -> dict[str, Any]:
        """Run what is missing of all stages. Returns the line that records them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = self.decided("plan.json", self._plan)
        self.generate(plan["seats"], plan["opponents"])
        shares = self.mix()
        start = self._champion if self._config.start == "champion" else self._config.base
        candidates = self.train(start, known=[self._champion])
        with self.executor() as executor:
            race = self.race(Race([*candidates], limit=self._config.num_race_battles), executor)
            gate = self.gate(race["leader"], self._champion, executor)
            tables = self._tables(race["leader"], executor)
        promoted = gate["verdict"] == "better"
        return {
            "iteration": self.number,
            "champion_before": self._champion,
            "candidate": race["leader"],
            "champion": race["leader"] if promoted else self._champion,
            "promoted": promoted,
            "reason": reason_of("Promoted" if promoted else "The champion stays", gate),
            "race": race,
            "gate": gate,
            "tables": tables,
            "warnings": [row["warning"] for row in tables if row["warning"]],
            "training": shares,
            "checkpoints": candidates,
        }

    def _plan(self) -> dict[str, Any]:
        """Who plays for data, and against which opponents: before any battle."""
        seats = self.seats(self._champion)
        weights = self._run.population or self._prioritized(seats)
        return {"champion": self._champion, "seats": seats, "opponents": dict(weights)}

    def _prioritized(self, seats: Sequence[str]) -> dict[str, float]:
        """Opponent -> weight, by the champion's win rates in the results so far."""
        kept = self._history[self._run.kept_from(self.number) - 1 :]
        lost = [line["candidate"] for line in kept if not line["promoted"]]
        champions = [line["champion"] for line in self._history]
        names = [self._champion, self._config.base, *champions, *lost, *HEURISTICS]
        players = self._run.players(list(dict.fromkeys(names)))
        different: dict[str, str] = {}
        for name, player in players.items():
            different.setdefault(player.fingerprint, name)
        names = list(different.values())
        games, _ = games_of(self._run.store.rows())
        rates = pooled_payoffs(games, {self._champion, *seats}, names).win_rates
        sigma = explore(prioritized(rates, champion=0), EXPLORATION)
        return dict(zip(names, sigma.round(6).tolist(), strict=True))

    def _tables(self, candidate: str, executor: Executor) -> list[dict[str, Any]]:
        """The candidate's win rates against the heuristics, by team set."""
        config = self._config
        sets = [*zip(config.team_set, self._run.training, strict=True)]
        sets += zip(config.held_out_team_set, self._run.held_out, strict=True)
        plan = fixed([(candidate, opponent) for opponent in HEURISTICS], config.num_table_battles)
        games = {
            name: games_of(
                self.played(plan, (candidate, *HEURISTICS), "table", conditions, executor)
            )[0]
            for name, conditions in sets
        }
        trained = [game for name in config.team_set for game in games[name]]
        table = []
        for opponent in HEURISTICS:
            reference = head_to_head(trained, candidate, opponent)
            for name in games:
                result = head_to_head(games[name], candidate, opponent)
                held_out = name in config.held_out_team_set
                warned = held_out and differ(result, reference)
                warning = (
                    f"Against {opponent} {candidate} wins {result.win_rate:.1%} on the held-out "
                    f"teams {name}, {reference.win_rate:.1%} on the training teams."
                )
                row = {"team_set": name, "held_out": held_out, "opponent": opponent}
                table.append(row | asdict(result) | {"warning": warning if warned else None})
        return table


def pooled_payoffs(
    games: Iterable[Game], variants: set[str], players: Sequence[str]
) -> PayoffMatrix:
    """The payoffs of players, the first standing for all its `variants`, whose games against each
    other do not count."""

    def name(player: str) -> str:
        return players[0] if player in variants else player

    pooled = [
        replace(game, player_a=name(game.player_a), player_b=name(game.player_b))
        for game in games
        if not {game.player_a, game.player_b} <= variants
    ]
    return PayoffMatrix.of(Games.of(pooled), players)


def differ(one: HeadToHead, other: HeadToHead) -> bool:
    """Whether two independent win rates differ at the level of 5 %, by their intervals' widths."""
    spread = math.hypot(one.high - one.low, other.high - other.low) / 2
    return abs(one.win_rate - other.win_rate) > spread
