"""`metamon-ext run_psro`: `psro` with the flags of the script of that name that the field knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metamon_ext.arena.mixture import read_population
from metamon_ext.arena.tracking.tracker import has_metamon
from metamon_ext.cli.flags import Functions, Json
from metamon_ext.cli.psro import psro_command
from metamon_ext.errors import UserError
from metamon_ext.settings import default_workers
from metamon_ext.workflows.psro import JOURNAL, POPULATION
from metamon_ext.workflows.psro_config import PsroConfig

RUNS = ("ckpts", "checkpoint.pt")
"""What the folder of a run holds: of Metamon's or of the built-in learner's."""


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags, and what they are in `psro`.

    Attributes:
        phase0_dir: its population.json is the first population, or else the runs and checkpoints
            in it.
        save_dir: gets everything; a run in it is resumed.
        num_iterations: in all, those before included.
        start_iteration: not needed, as resuming is automatic; refused beyond the next iteration.
        battle_format: a singles format of the simulator.
        team_set: of all battles.
        battles_per_matchup: of two members at most, for the payoff matrix.
        collection_battles: played for data in an iteration.
        oracle_epochs: of training in an iteration; of Metamon's trainer.
        oracle_batch_size: sequences in a batch, on each GPU.
        oracle_model_config: refused: a response has the network of what it starts from.
        oracle_train_config: a gin file of the trainer's, by path or name.
        init_from_checkpoint: what training starts from: see `metamon-ext psro --help`.
        parsed_replay_dir: trajectories to train on beside the collected ones, by format.
        formats: of these trajectories; default: the battle format.
        parallel_matchups: processes.
        log: log training to Weights & Biases.
        trainer: lite or metamon; default: metamon where it is installed.
        seed: of teams, seats and battles.
    """

    phase0_dir: Path
    save_dir: Path
    num_iterations: int = 3
    start_iteration: int = 1
    battle_format: str = "gen1ou"
    team_set: str = "sample"
    battles_per_matchup: int = 200
    collection_battles: int = 2000
    oracle_epochs: int | None = None
    oracle_batch_size: int | None = None
    oracle_model_config: str | None = None
    oracle_train_config: str | None = None
    init_from_checkpoint: str | None = None
    parsed_replay_dir: Path | None = None
    formats: Sequence[str] = ()
    parallel_matchups: int = field(default_factory=default_workers)
    log: bool = False
    trainer: str = "metamon" if has_metamon() else "lite"
    seed: int = 0

    def psro_config(self) -> PsroConfig:
        """The same in the terms of `psro`. Raises UserError for what it cannot honor."""
        if self.oracle_model_config:
            raise UserError(
                f"--oracle_model_config {self.oracle_model_config} cannot be honored: a response "
                "has the network of --init_from_checkpoint. Leave it out."
            )
        if self.formats and not self.parsed_replay_dir:
            raise UserError("--formats are those of --parsed_replay_dir, which is missing.")
        if self.oracle_epochs and self.trainer == "lite":
            raise UserError(
                "--oracle_epochs cannot be honored: the built-in learner has no epochs. Use "
                "metamon-ext psro --steps."
            )
        self._check_start()
        replays = self.parsed_replay_dir
        formats = self.formats or [self.battle_format]
        return PsroConfig(
            population=first_population(self.phase0_dir),
            output_dir=self.save_dir,
            iterations=self.num_iterations,
            battle_format=self.battle_format,
            team_set=(self.team_set,),
            battles_per_matchup=self.battles_per_matchup,
            num_battles=self.collection_battles,
            epochs=self.oracle_epochs,
            batch_size=self.oracle_batch_size,
            train_gin_config=self.oracle_train_config,
            init_from_checkpoint=self.init_from_checkpoint,
            data_dir=[replays / name for name in formats] if replays else [],
            workers=self.parallel_matchups,
            log=self.log,
            trainer=self.trainer,
            seed=self.seed,
        )

    def _check_start(self) -> None:
        journal = self.save_dir / JOURNAL
        done = max(len(journal.read_bytes().splitlines()) - 1, 0) if journal.exists() else 0
        if self.start_iteration > done + 1:
            raise UserError(
                f"--start_iteration {self.start_iteration}: {self.save_dir} has {done} finished "
                "iterations. Leave it out: resuming is automatic."
            )


def first_population(folder: Path) -> list[str]:
    """The policies that a folder names in its population.json, or else has as runs and checkpoints.

    Raises UserError for fewer than two.
    """
    if (file := folder / POPULATION).exists():
        return [*read_population(file)]
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [
        str(path)
        for path in entries
        if path.suffix == ".pt" or any((path / part).exists() for part in RUNS)
    ]
    if len(found) < 2:
        raise UserError(
            f"--phase0_dir {folder} has {len(found)} runs and checkpoints in it, and no "
            f'{POPULATION}, {{"policy": weight, ...}}. A population needs at least two members.'
        )
    return found


def run_psro_command(config: Flags, as_json: Json = False) -> int:
    """Exit code 1 if an error has left battles unfinished."""
    return psro_command(config.psro_config(), as_json)


FUNCTIONS: Functions = {"run_psro": run_psro_command}
