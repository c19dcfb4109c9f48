"""Policy-space response oracles (PSRO; Lanctot et al. 2017, arXiv:1711.00832), resumable.

An iteration fills the payoff matrix of the population, solves it for a meta-strategy, trains a
response on battles against members drawn from that, finds the best checkpoint in a race against the
mixture, and adds it to the population if a sequential test says that it beats the mixture.

The run's folder holds, beside the results, a line for each iteration in psro.jsonl and report.html,

    population.json            the members
    interaction_matrix.json, meta_strategy.json, meta_game_analysis.json
                               see `metamon_ext.evaluation.meta_game`; the latest, and in
                               iteration_K/ those that iteration K started with
    iteration_K/               see also `metamon_ext.workflows.stages`
        plan.json              who played for data, and against which opponents
        iteration_summary.json the line of psro.jsonl
    psro_summary.json          what came of the run

A last analysis, with the last member in it, ends the run.

**Exploitability** is the response's win rate against the mixture minus one half, from the battles
of the sequential test, which did not choose the response. It is a lower bound: a better response
may exist. See `metamon_ext.evaluation.meta_game` for what it is not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import find_executor
from metamon_ext.arena.mixture import PREFIX
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import derive
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.evaluation.games import Games, games_of
from metamon_ext.evaluation.meta_game import STRATEGY, MetaGame, analyze, write_meta_game
from metamon_ext.evaluation.meta_solvers import META_SOLVERS
from metamon_ext.evaluation.payoff_schedule import PayoffSchedule
from metamon_ext.evaluation.racing import Race
from metamon_ext.evaluation.schedules import Schedule, play_rounds
from metamon_ext.evaluation.sprt import expected_score
from metamon_ext.files import write_json
from metamon_ext.workflows.psro_config import PsroConfig
from metamon_ext.workflows.psro_report import write_psro_report
from metamon_ext.workflows.stages import Line, Run, Stages, reason_of
from metamon_ext.workflows.tournament import require_different

JOURNAL = "psro.jsonl"
POPULATION = "population.json"
SUMMARY = "psro_summary.json"


@dataclass(frozen=True)
class PsroResult:
    """What came of a run.

    Attributes:
        summary: the content of `psro_summary.json`.
        lines: of all iterations, as in `psro.jsonl`.
        finished_now: how many of them this call has finished.
        rows: all battles of the run.
        report: the path of the report.
    """

    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    finished_now: int
    rows: list[BattleRow]
    report: Path


@dataclass(frozen=True)
class PsroRun(Run):
    """What all iterations of `psro` share."""

    config: PsroConfig

    @property
    def settings(self) -> dict[str, Any]:
        """See `Run`."""
        first = [*self.config.population, *filter(None, [self.config.init_from_checkpoint])]
        return super().settings | {
            "fingerprints": {name: self.player(name).fingerprint for name in first}
        }

    def members(self, lines: Sequence[Line]) -> list[str]:
        """The population after these iterations."""
        return [*self.config.population, *(line["candidate"] for line in lines if line["added"])]

    def check(self) -> None:
        """Raise UserError for a population or a start that cannot be used."""
        config = self.config
        players = self.players(config.population)
        require_different(players.values())
        if mixed := [name for name, player in players.items() if player.policy.members]:
            raise UserError(f"{mixed[0]} is a mixture. Name its members in --population instead.")
        start = config.init_from_checkpoint
        if start and self.player(start).policy.weights is None:
            raise UserError(f"--init_from_checkpoint {start} has no weights to start from.")

    def analyze(self, lines: Sequence[Line], folders: Sequence[Path]) -> Analysis:
        """Fill the payoff matrix after these iterations, and write the meta-game to folders."""
        config, members = self.config, self.members(lines)
        solver = META_SOLVERS.find(config.solver)
        given = {(a, b): n for a, b, n in lines[-1]["payoff_battles"]} if lines else {}
        limit = config.battles_per_matchup
        plan = PayoffSchedule(members, limit, solver, config.exploration, given)
        schedule = Schedule(self.players(members), self.all_teams, derive(config.seed, "payoffs"))
        with find_executor(config.executor)(workers=config.workers) as executor:
            rows = play_rounds(plan, schedule, executor, self.store)
        games = Games.of(games_of(rows)[0])
        if alone := [name for name in members if name not in games.players]:
            reasons = Counter(
                row.reason for row in rows if alone[0] in (row.player_a, row.player_b)
            )
            raise RunStopped(f"No battle of {alone[0]} finished: {reasons.most_common(1)[0][0]}.")
        game = analyze(games, members, solver, config.exploration, config.draws, config.seed)
        for folder in folders:
            write_json(folder / POPULATION, dict.fromkeys(members, 1.0))
            write_meta_game(game, config.meta_game(members, folder), [])
        return Analysis(members, game, rows)


@dataclass(frozen=True)
class Analysis:
    """The meta-game of a population.

    Attributes:
        members: their names.
        game: the analysis.
        rows: the battles of the payoff matrix.
    """

    members: Sequence[str]
    game: MetaGame
    rows: list[BattleRow]

    @property
    def strategy(self) -> dict[str, float]:
        """The probability of each member."""
        return {each.rating.player: each.probability.value for each in self.game.members}

    @property
    def battles(self) -> list[tuple[str, str, int]]:
        """How many battles of each two members the matrix is made of."""
        played = Counter(frozenset((row.player_a, row.player_b)) for row in self.rows)
        return [(a, b, played[frozenset((a, b))]) for a, b in combinations(self.members, 2)]

    def best(self, names: Sequence[str]) -> str:
        """Of these members the one that wins most against the meta-strategy."""
        strategy = self.strategy
        players = self.game.payoffs.players
        rates = self.game.payoffs.win_rates @ [strategy[name] for name in players]
        return max(names, key=dict(zip(players, rates.tolist(), strict=True)).__getitem__)


class PsroIteration(Stages):
    """An iteration in its folder.

    Args:
        run: what all iterations share.
        history: the lines of the iterations before.
    """

    def __init__(self, run: PsroRun, history: Sequence[Line]) -> None:
        super().__init__(run, history)
        self._run: PsroRun = run

    def play(self) -> dict[str, Any]:
        """Run what is missing of all stages. Returns the line that records them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = self.decided("plan.json", self._plan)
        self.generate(plan["seats"], plan["opponents"])
        shares = self.mix()
        members = self._run.members(self._history)
        candidates = self.train(plan["learner"], known=members)
        mixture = self._mixture(members)
        with self.executor() as executor:
            race = Race([*candidates], mixture, limit=self._config.num_race_battles)
            standing = self.race(race, executor)
            gate = self.gate(standing["leader"], mixture, executor)
        added = gate["verdict"] == "better"
        line = {
            "iteration": self.number,
            "population": members,
            "strategy": plan["opponents"],
            "learner": plan["learner"],
            "candidate": standing["leader"],
            "added": added,
            "reason": reason_of("Added to the population" if added else "Not added", gate),
            "exploitability": exploitability_of(gate),
            "race": standing,
            "gate": gate,
            "payoff_battles": plan["payoff_battles"],
            "training": shares,
            "checkpoints": candidates,
        }
        write_json(self.folder / "iteration_summary.json", line)
        return line

    def _plan(self) -> dict[str, Any]:
        """The meta-strategy, and who plays against it: before any other battle."""
        analysis = self._run.analyze(self._history, [self.folder, self._config.output_dir])
        learner = self._run.config.init_from_checkpoint or self._learner(analysis)
        return {
            "learner": learner,
            "seats": self.seats(learner),
            "opponents": {name: p for name, p in analysis.strategy.items() if p > 0},
            "payoff_battles": analysis.battles,
        }

    def _mixture(self, members: Sequence[str]) -> str:
        """The player of the meta-strategy.

        Raises UserError where its file stands for other checkpoints, as paths are looked for in the
        current folder first.
        """
        name = f"{PREFIX}{self.folder.name}/{STRATEGY}"
        known = {self._run.player(member).fingerprint for member in members}
        for ref, _ in self._run.player(name).policy.members:
            if ref.fingerprint not in known:
                raise UserError(
                    f"The current folder has another {ref.name} than {self._config.output_dir}. "
                    "Run the command in another folder."
                )
        return name

    def _learner(self, analysis: Analysis) -> str:
        """The best member with weights, if any, else the best of all."""
        members = analysis.members
        trainable = [name for name in members if self._run.player(name).policy.weights]
        return analysis.best(trainable or members)


def exploitability_of(gate: Mapping[str, Any]) -> dict[str, Any]:
    """The win rate against the mixture minus one half, a lower bound, with its 95 % interval.

    Its `kind` is that of the Elo estimate: "corrected" for early stopping, or "plain".
    """
    ends = {"value": gate["elo"], "low": gate["low"], "high": gate["high"]}
    rates = {name: expected_score(elo) - 0.5 for name, elo in ends.items()}
    return rates | {"kind": gate["kind"], "battles": gate["battles"], "is_lower_bound": True}


def psro(config: PsroConfig) -> PsroResult:
    """Add best responses to a population; finished iterations are not repeated.

    Raises UserError for bad input, RunStopped where the run cannot go further.
    """
    config.check_training(_start(config))
    find_executor(config.executor)
    training = [
        Conditions.load(config.battle_format, name, config.turn_limit) for name in config.team_set
    ]
    lines: list[dict[str, Any]] = []
    summary = config.output_dir / SUMMARY
    with ResultStore(config.output_dir / RESULTS) as store:
        run = PsroRun(config, store, training)
        run.check()
        new = run.iterate(JOURNAL, lines, lambda: PsroIteration(run, lines).play())
        if not summary.exists() or json.loads(summary.read_text())["iterations"] != len(lines):
            _finish(run, lines)
        run.clean(lines, run.members(lines))
        rows = store.rows()
    content = json.loads(summary.read_text())
    return PsroResult(content, lines, new, rows, config.output_dir / "report.html")


def _start(config: PsroConfig) -> str:
    """A policy to check training with: one with weights, if there is any.

    Raises UserError if Metamon has no model to start from.
    """
    names = [*filter(None, [config.init_from_checkpoint]), *config.population]
    trainable = [name for name in names if PolicyRef.resolve(name).weights]
    if config.trainer == "metamon" and not trainable:
        raise UserError("Metamon trains from a model. Name one by --init_from_checkpoint.")
    return [*trainable, *names][0]


def _finish(run: PsroRun, lines: Sequence[Line]) -> None:
    """Analyze the final population, and write the report and, last, the summary."""
    folder = run.config.output_dir
    analysis = run.analyze(lines, [folder])
    write_psro_report(run.config, lines, analysis.game, analysis.rows)
    content = {
        "iterations": len(lines),
        "population": analysis.members,
        "strategy": {
            each.rating.player: asdict(each.probability) for each in analysis.game.members
        },
        "exploitability": [line["exploitability"] for line in lines],
        "cyclic_share": asdict(analysis.game.cyclic_share),
        "payoff_battles": len(analysis.rows),
        "reasons": [line["reason"] for line in lines],
    }
    write_json(folder / SUMMARY, content)
