"""One iteration of the loop: generate, filter, train, race, gate, tables, decision.

Every stage can be repeated: it does only what is missing on disk or in the results table, and what
it decides depends on these results alone. So a killed iteration resumes battle for battle and step
for step. Its folder holds

    plan.json          the champion, and the weights of its opponents
    selfplay/, data/   trajectories, and those of them that passed the filter
    training/          links to the data that it trains on; training.json counts them
    model/             the run of the trainer
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import Executor, Recording, find_executor
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import BattleSpec, Player, battle, derive
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.audit_report import print_audit
from metamon_ext.data.filter import FilterConfig, filter_trajectories
from metamon_ext.data.mixture import link_mixture
from metamon_ext.data.trajectory import FILTERING_STATS
from metamon_ext.errors import UserError
from metamon_ext.evaluation.games import Game, Games, HeadToHead, games_of, head_to_head
from metamon_ext.evaluation.meta_solvers import explore, prioritized
from metamon_ext.evaluation.payoffs import PayoffMatrix
from metamon_ext.evaluation.racing import Race
from metamon_ext.evaluation.schedules import (
    Plan,
    Schedule,
    SprtSchedule,
    fixed,
    outcomes_of,
    play_rounds,
)
from metamon_ext.files import write_json
from metamon_ext.terminal import console
from metamon_ext.training.trainer import find_trainer
from metamon_ext.workflows.gate import LOOK, answer_of
from metamon_ext.workflows.generate import drawer, play_decided
from metamon_ext.workflows.iterate_config import IterateConfig, with_options

HEURISTICS = ("simple_heuristics", "max_base_power")
"""Opponents of every champion, and of the tables."""

EXPLORATION = 0.2
"""The share of the champion's battles that its opponents have in equal parts."""

Line = Mapping[str, Any]
"""What `iterations.jsonl` records of an iteration."""


@dataclass(frozen=True)
class Run:
    """What all iterations of a run share.

    Attributes:
        config: the settings.
        store: the results table.
        training: the conditions of each training team set.
        held_out: the conditions of each held-out one.
        population: opponents and their weights; None: chosen by results.
    """

    config: IterateConfig
    store: ResultStore
    training: Sequence[Conditions]
    held_out: Sequence[Conditions]
    population: Mapping[str, float] | None = None

    @cached_property
    def all_teams(self) -> Conditions:
        """The conditions of races and gates: the teams of all training sets."""
        teams = [team for conditions in self.training for team in conditions.teams]
        names = " + ".join(conditions.team_set for conditions in self.training)
        return replace(self.training[0], teams=teams, team_set=names)

    def folder(self, number: int) -> Path:
        """Of an iteration."""
        return self.config.output_dir / f"iteration_{number}"

    def player(self, name: str) -> Player:
        """The player of a name: a path in the run's folder for a checkpoint, else a policy's."""
        in_run = name.startswith("iteration_")
        path = f"{self.config.output_dir}/{name}" if in_run else name
        return Player(name, PolicyRef.resolve(path))

    def players(self, names: Sequence[str]) -> dict[str, Player]:
        """The players of these names, which the results show from now on."""
        players = {name: self.player(name) for name in names}
        self.store.register(players.values())
        return players

    def kept_from(self, number: int) -> int:
        """The first iteration whose data iteration `number` may use."""
        return max(1, number - self.config.keep_iterations) if self.config.keep_iterations else 1


class Iteration:
    """An iteration in its folder.

    Args:
        run: what all iterations share.
        history: the lines of the iterations before.
    """

    def __init__(self, run: Run, history: Sequence[Line]) -> None:
        self._run, self._config, self._history = run, run.config, history
        self.number = len(history) + 1
        self._folder = run.folder(self.number)
        self._champion = history[-1]["champion"] if history else run.config.base

    def seed(self, purpose: str) -> int:
        """Of one stage."""
        return derive(self._config.seed, purpose, self.number)

    def play(self) -> dict[str, Any]:
        """Run what is missing of all stages. Returns the line that records them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._generate(self._plan())
        shares = self._mix()
        candidates = self._train()
        with find_executor(self._config.executor)(workers=self._config.workers) as executor:
            race = self._race(list(candidates), executor)
            gate = self._gate(race["leader"], executor)
            tables = self._tables(race["leader"], executor)
        promoted = gate["verdict"] == "better"
        return {
            "iteration": self.number,
            "champion_before": self._champion,
            "candidate": race["leader"],
            "champion": race["leader"] if promoted else self._champion,
            "promoted": promoted,
            "reason": _reason(gate, promoted),
            "race": race,
            "gate": gate,
            "tables": tables,
            "warnings": [row["warning"] for row in tables if row["warning"]],
            "training": shares,
            "checkpoints": candidates,
        }

    def _plan(self) -> dict[str, Any]:
        """Who plays for data, and against which opponents: decided once, before any battle."""
        path = self._folder / "plan.json"
        if path.exists():
            plan: dict[str, Any] = json.loads(path.read_text())
            return plan
        seats = [self._champion]
        if self._run.player(self._champion).policy.weights:
            options = self._config.generate_options
            seats = list(dict.fromkeys(with_options(self._champion, text) for text in options))
        weights = self._run.population or self._prioritized(seats)
        plan = {"champion": self._champion, "seats": seats, "opponents": dict(weights)}
        write_json(path, plan)
        return plan

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

    def _generate(self, plan: Mapping[str, Any]) -> None:
        """Play the champion's battles for data, and filter their trajectories."""
        selfplay, data = self._folder / "selfplay", self._folder / "data"
        if (data / FILTERING_STATS).exists():
            return
        arms = [(seat, conditions) for conditions in self._run.training for seat in plan["seats"]]
        players = self._run.players([*plan["opponents"], *plan["seats"]])
        seed = self.seed("generate")
        draws = {seat: drawer(seat, plan["opponents"], seed) for seat in plan["seats"]}

        def spec_of(number: int) -> BattleSpec:
            round_number, arm = divmod(number, len(arms))
            seat, conditions = arms[arm]
            first, second = draws[seat](round_number)
            return battle(players[first], players[second], number, 0, conditions, seed)

        recording = Recording(selfplay, self._run.store.created)
        make_executor = find_executor(self._config.executor)
        with make_executor(workers=self._config.workers, recording=recording) as executor:
            play_decided(self._config.num_battles, spec_of, executor, self._run.store)
        rules = FilterConfig(min_decisions=2)
        report, _ = filter_trajectories(selfplay, data, rules, self._config.workers)
        if report.verdict == "unusable":
            print_audit(console(stderr=True), report)
            (data / FILTERING_STATS).unlink()
            raise UserError(f"The trajectories in {selfplay} are unusable: see the audit above.")

    def _mix(self) -> dict[str, int]:
        """Link the data to train on. Returns battles by where they come from."""
        path = self._folder / "training.json"
        if not path.exists():
            kept = range(self.number - 1, self._run.kept_from(self.number) - 1, -1)
            old = {f"iteration_{k}": self._run.folder(k) / "data" for k in kept}
            counts = link_mixture(
                {self._folder.name: self._folder / "data"},
                old | {str(folder): folder for folder in self._config.data_dir},
                self._folder / "training",
                self._config.new_data_share,
                self.seed("mix"),
            )
            write_json(path, counts)
        shares: dict[str, int] = json.loads(path.read_text())
        return shares

    def _train(self) -> dict[str, str]:
        """Train. Returns the candidates, and the files of their weights in the run's folder."""
        config, root = self._config, f"{self._config.output_dir}/"
        name = self._champion if config.start == "champion" else config.base
        start = self._run.player(name).policy
        has_weights = start.weights is not None
        checkpoints = find_trainer(config.trainer).train(
            self._folder / "training",
            start if has_weights else None,
            config.trainer_config(self.seed("train"), has_weights),
            self._folder / "model",
        )
        names = [
            with_options(policy.name.removeprefix(root), text)
            for text in config.checkpoint_options
            for policy in checkpoints
        ]
        different = {self._run.player(self._champion).fingerprint: ""}
        found = {}
        for name in dict.fromkeys(names):
            player = self._run.player(name)
            if different.setdefault(player.fingerprint, name) == name:
                found[name] = str(player.policy.weights).removeprefix(root)
        if not found:
            raise UserError(f"Training in {self._folder} has left the champion as it was.")
        return found

    def _played(
        self, plan: Plan, names: Sequence[str], purpose: str, conditions: Conditions, on: Executor
    ) -> list[BattleRow]:
        schedule = Schedule(self._run.players(names), conditions, self.seed(purpose))
        return play_rounds(plan, schedule, on, self._run.store)

    def _race(self, candidates: list[str], executor: Executor) -> dict[str, Any]:
        """Find the best of the candidates."""
        race = Race(candidates, limit=self._config.num_race_battles)
        rows = self._played(race, candidates, "race", self._run.all_teams, executor)
        standing = race.standing(outcomes_of(rows, dict.fromkeys(race.pairings, 0)))
        return asdict(standing) | {"battles": len(rows)}

    def _gate(self, candidate: str, executor: Executor) -> dict[str, Any]:
        """Test whether the candidate is better than the champion."""
        pairing = (candidate, self._champion)
        limit = self._config.num_gate_battles
        plan = SprtSchedule([pairing], self._config.test, limit, LOOK)
        return answer_of(plan, self._played(plan, pairing, "gate", self._run.all_teams, executor))

    def _tables(self, candidate: str, executor: Executor) -> list[dict[str, Any]]:
        """The candidate's win rates against the heuristics, by team set."""
        config = self._config
        sets = [*zip(config.team_set, self._run.training, strict=True)]
        sets += zip(config.held_out_team_set, self._run.held_out, strict=True)
        plan = fixed([(candidate, opponent) for opponent in HEURISTICS], config.num_table_battles)
        games = {
            name: games_of(
                self._played(plan, (candidate, *HEURISTICS), "table", conditions, executor)
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


def _reason(gate: Mapping[str, Any], promoted: bool) -> str:
    elo = "{elo:+.0f} Elo (95 % interval {low:+.0f} to {high:+.0f}), {battles} battles"
    action = "Promoted" if promoted else "The champion stays"
    return f"{action}: {elo.format(**gate)}. {gate['decided']}"
