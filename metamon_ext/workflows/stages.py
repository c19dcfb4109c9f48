"""The stages that an iteration of `iterate` and one of `psro` have in common.

Every stage can be repeated: it does only what is missing on disk or in the results table, and what
it decides depends on these results alone. So a killed iteration resumes battle for battle and step
for step. The folder `iteration_K` of an iteration holds

    selfplay/, data/   trajectories, and those of them that passed the filter
    training/          links to the data that it trains on; training.json counts them
    model/             the run of the trainer
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.text import Text

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import Executor, Recording, find_executor
from metamon_ext.arena.mixture import PREFIX
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import BattleSpec, Player, battle, derive
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.audit_report import print_audit
from metamon_ext.data.filter import FilterConfig, filter_trajectories
from metamon_ext.data.mixture import link_mixture
from metamon_ext.data.trajectory import FILTERING_STATS
from metamon_ext.errors import UserError, cannot_write
from metamon_ext.evaluation.racing import Race
from metamon_ext.evaluation.schedules import (
    Plan,
    Schedule,
    SprtSchedule,
    outcomes_of,
    play_rounds,
)
from metamon_ext.files import StageJournal, write_json
from metamon_ext.terminal import console
from metamon_ext.training.lite.training_log import LOG
from metamon_ext.training.trainer import find_trainer
from metamon_ext.workflows.gate import LOOK, answer_of
from metamon_ext.workflows.generate import drawer, play_decided
from metamon_ext.workflows.iterate_config import LoopConfig, with_options

FREE = {"output_dir", "workers", "executor", "iterations", "keep_iterations", "data_dir", "log"}
"""Settings that a resumed run may change, or that are recorded in another form."""

Line = Mapping[str, Any]
"""What the journal of a run records of an iteration."""


@dataclass(frozen=True)
class Run:
    """What all iterations of a run share.

    Attributes:
        config: the settings.
        store: the results table.
        training: the conditions of each training team set.
    """

    config: LoopConfig
    store: ResultStore
    training: Sequence[Conditions]

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
        """The player of a name: that of a policy, or a path in the run's folder for a checkpoint of
        the run or a mixture of its players."""
        kind = PREFIX if name.startswith(PREFIX) else ""
        path = name.removeprefix(kind)
        if path.startswith("iteration_"):
            path = f"{self.config.output_dir}/{path}"
        return Player(name, PolicyRef.resolve(kind + path))

    def players(self, names: Sequence[str]) -> dict[str, Player]:
        """The players of these names, which the results show from now on."""
        players = {name: self.player(name) for name in names}
        self.store.register(players.values())
        return players

    def kept_from(self, number: int) -> int:
        """The first iteration whose data iteration `number` may use."""
        return max(1, number - self.config.keep_iterations) if self.config.keep_iterations else 1

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed."""
        config = self.config
        settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in FREE}
        settings = {n: list(v) if isinstance(v, tuple | list) else v for n, v in settings.items()}
        return settings | {
            "data_dir": [str(folder) for folder in config.data_dir],
            "teams": [conditions.teams_id for conditions in self.training],
        }

    def iterate(
        self, journal: str, lines: list[dict[str, Any]], play: Callable[[], dict[str, Any]]
    ) -> int:
        """Play the iterations that are missing.

        Args:
            journal: the file of their lines.
            lines: gets those of finished iterations, and then each new one.
            play: plays the iteration after these, and returns its line.

        Returns:
            How many were missing.
        """
        config = self.config
        with StageJournal(config.output_dir / journal, self.settings, lines.append) as stages:
            before = len(lines)
            while len(lines) < config.iterations:
                title = f"Iteration {len(lines) + 1} of {config.iterations}"
                console(stderr=True).print(Text(title, "bold"))
                line = play()
                try:
                    stages.add(line)
                except OSError as error:
                    raise cannot_write(config.output_dir, error) from None
                lines.append(line)
                console(stderr=True).print(line["reason"])
        return len(lines) - before

    def clean(self, lines: Sequence[Line], kept: Collection[str]) -> None:
        """Delete what `keep_iterations` does not keep, with the checkpoints that passed no gate.

        Args:
            lines: of the finished iterations.
            kept: names of players whose weights are kept.
        """
        weights = {line["checkpoints"].get(name) for line in lines for name in kept}
        for number in range(1, self.kept_from(len(lines) + 1)):
            for name in ("selfplay", "data", "training", "model/ckpts/training_states"):
                shutil.rmtree(self.folder(number) / name, ignore_errors=True)
            for file in set(lines[number - 1]["checkpoints"].values()) - weights:
                (self.config.output_dir / file).unlink(missing_ok=True)


class Stages:
    """The stages of an iteration.

    Args:
        run: what all iterations share.
        history: the lines of the iterations before.
    """

    def __init__(self, run: Run, history: Sequence[Line]) -> None:
        self._run, self._config, self._history = run, run.config, history
        self.number = len(history) + 1
        self.folder = run.folder(self.number)

    def seed(self, purpose: str) -> int:
        """Of one stage."""
        return derive(self._config.seed, purpose, self.number)

    def decided(self, name: str, decide: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What a JSON file of the iteration's folder holds; decided once, when it is missing."""
        path = self.folder / name
        if not path.exists():
            write_json(path, decide())
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def executor(self) -> Executor:
        """Where battles are played that are not recorded. Use it as a context manager."""
        return find_executor(self._config.executor)(workers=self._config.workers)

    def seats(self, name: str) -> list[str]:
        """The policies that play for data in the place of a player, in turn."""
        if self._run.player(name).policy.weights is None:
            return [name]
        options = self._config.generate_options
        return list(dict.fromkeys(with_options(name, text) for text in options))

    def generate(self, seats: Sequence[str], opponents: Mapping[str, float]) -> None:
        """Play for data, and filter the trajectories.

        Args:
            seats: policies that play in turn.
            opponents: policy -> weight, in whose proportion their opponents are drawn.
        """
        selfplay, data = self.folder / "selfplay", self.folder / "data"
        if (data / FILTERING_STATS).exists():
            return
        arms = [(seat, conditions) for conditions in self._run.training for seat in seats]
        players = self._run.players([*opponents, *seats])
        seed = self.seed("generate")
        draws = {seat: drawer(seat, opponents, seed) for seat in seats}

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

    def mix(self) -> dict[str, int]:
        """Link the data to train on. Returns battles by where they come from."""
        return self.decided("training.json", self._link)

    def _link(self) -> dict[str, int]:
        kept = range(self.number - 1, self._run.kept_from(self.number) - 1, -1)
        old = {f"iteration_{k}": self._run.folder(k) / "data" for k in kept}
        return link_mixture(
            {self.folder.name: self.folder / "data"},
            old | {str(folder): folder for folder in self._config.data_dir},
            self.folder / "training",
            self._config.new_data_share,
            self.seed("mix"),
        )

    def train(self, start: str, known: Collection[str]) -> dict[str, str]:
        """Train.

        Args:
            start: the player to start from; one without weights: new weights.
            known: names of players. A checkpoint that is one of them is no candidate.

        Returns:
            The candidates, and the files of their weights in the run's folder.
        """
        config, root = self._config, f"{self._config.output_dir}/"
        policy = self._run.player(start).policy
        has_weights = policy.weights is not None
        checkpoints = find_trainer(config.trainer).train(
            self.folder / "training",
            policy if has_weights else None,
            config.trainer_config(self.seed("train"), start, has_weights),
            self.folder / "model",
        )
        names = [
            with_options(checkpoint.name.removeprefix(root), text)
            for text in config.checkpoint_options
            for checkpoint in checkpoints
        ]
        different = {self._run.player(name).fingerprint: "" for name in known}
        found = {}
        for name in dict.fromkeys(names):
            player = self._run.player(name)
            if different.setdefault(player.fingerprint, name) == name:
                found[name] = str(player.policy.weights).removeprefix(root)
        if not found:
            raise UserError(f"Training in {self.folder} has left {start} as it was.")
        return found

    def played(
        self,
        plan: Plan,
        names: Sequence[str],
        purpose: str,
        conditions: Conditions,
        executor: Executor,
    ) -> list[BattleRow]:
        """Play what a plan asks for, of players of these names."""
        schedule = Schedule(self._run.players(names), conditions, self.seed(purpose))
        return play_rounds(plan, schedule, executor, self._run.store)

    def race(self, race: Race, executor: Executor) -> dict[str, Any]:
        """Find the best candidate."""
        names = [*race.candidates, *([race.opponent] if race.opponent else [])]
        rows = self.played(race, names, "race", self._run.all_teams, executor)
        standing = race.standing(outcomes_of(rows, dict.fromkeys(race.pairings, 0)))
        return asdict(standing) | {"battles": len(rows)}

    def gate(self, candidate: str, opponent: str, executor: Executor) -> dict[str, Any]:
        """Test whether a candidate is better than an opponent."""
        pairing = (candidate, opponent)
        plan = SprtSchedule([pairing], self._config.test, self._config.num_gate_battles, LOOK)
        return answer_of(plan, self.played(plan, pairing, "gate", self._run.all_teams, executor))


def training_logs(output_dir: Path, iterations: int) -> dict[str, Path]:
    """Those of the built-in learner's runs, by the names of their iterations."""
    names = [f"iteration_{n}" for n in range(1, iterations + 1)]
    logs = {name: output_dir / name / "model" / LOG for name in names}
    return {name: log for name, log in logs.items() if log.exists()}


def reason_of(action: str, gate: Mapping[str, Any]) -> str:
    """Why a gate was followed by an action."""
    elo = "{elo:+.0f} Elo (95 % interval {low:+.0f} to {high:+.0f}), {battles} battles"
    return f"{action}: {elo.format(**gate)}. {gate['decided']}"
