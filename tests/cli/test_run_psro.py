"""The flags of `run_psro`: each is honored, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metamon_ext.cli import main
from metamon_ext.cli.run_psro import Flags, first_population
from metamon_ext.errors import UserError
from metamon_ext.workflows.psro_config import PsroConfig


@pytest.fixture
def phase0(tmp_path: Path) -> Path:
    folder = tmp_path / "phase0"
    folder.mkdir()
    (folder / "population.json").write_text(json.dumps({"random": 1, "max_base_power": 1}))
    return folder


def test_each_flag_is_a_setting_of_psro(phase0: Path, tmp_path: Path) -> None:
    replays = tmp_path / "replays"
    for name in ("gen1ou", "gen2ou"):
        (replays / name).mkdir(parents=True)
    flags = Flags(
        phase0_dir=phase0,
        save_dir=tmp_path / "run",
        num_iterations=4,
        start_iteration=1,
        battle_format="gen1ou",
        team_set="competitive",
        battles_per_matchup=50,
        collection_battles=300,
        oracle_epochs=7,
        oracle_batch_size=24,
        oracle_train_config="psro_oracle",
        init_from_checkpoint="Minikazam",
        parsed_replay_dir=replays,
        formats=["gen1ou", "gen2ou"],
        parallel_matchups=3,
        log=True,
        trainer="metamon",
        seed=5,
    )
    assert flags.psro_config() == PsroConfig(
        population=["random", "max_base_power"],
        output_dir=tmp_path / "run",
        iterations=4,
        battle_format="gen1ou",
        team_set=("competitive",),
        battles_per_matchup=50,
        num_battles=300,
        epochs=7,
        batch_size=24,
        train_gin_config="psro_oracle",
        init_from_checkpoint="Minikazam",
        data_dir=[replays / "gen1ou", replays / "gen2ou"],
        workers=3,
        log=True,
        trainer="metamon",
        seed=5,
    )


def test_the_trainer_gets_epochs_batch_size_and_log(tmp_path: Path) -> None:
    config = PsroConfig(
        population=["random", "max_base_power"],
        output_dir=tmp_path,
        trainer="metamon",
        epochs=7,
        batch_size=24,
        log=True,
    )
    finetune = config.trainer_config(0, "Minikazam", True)
    assert (finetune.epochs, finetune.batch_size_per_gpu, finetune.log) == (7, 24, True)
    assert finetune.train_gin_config == "psro_oracle"


def test_the_first_population_are_the_runs_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "metamon_run" / "ckpts").mkdir(parents=True)
    (tmp_path / "lite_run").mkdir()
    (tmp_path / "lite_run" / "checkpoint.pt").touch()
    (tmp_path / "single.pt").touch()
    (tmp_path / "logs").mkdir()
    names = [Path(name).name for name in first_population(tmp_path)]
    assert names == ["lite_run", "metamon_run", "single.pt"]
    with pytest.raises(UserError, match="has 0 runs and checkpoints in it"):
        first_population(tmp_path / "logs")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--oracle_model_config", "x.gin"], "--oracle_model_config x.gin cannot be honored"),
        (["--oracle_epochs", "3"], "--oracle_epochs cannot be honored"),
        (["--formats", "gen1ou"], "--formats are those of --parsed_replay_dir"),
        (["--start_iteration", "2"], "has 0 finished iterations. Leave it out"),
        (["--parsed_replay_dir", "nowhere"], "There is no folder nowhere/gen1ou."),
        (["--oracle_train_config", "x"], "no gin config 'x'"),
    ],
)
def test_what_cannot_be_honored_is_refused_by_name(
    flags: list[str],
    says: str,
    phase0: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--phase0_dir", str(phase0), "--save_dir", str(tmp_path / "run"), "--trainer", "lite"]
    assert main(["run_psro", *words, *flags]) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_start_within_the_run_is_accepted(phase0: Path, tmp_path: Path) -> None:
    (tmp_path / "psro.jsonl").write_text("{}\n{}\n{}\n")
    for start in (1, 3):
        Flags(phase0_dir=phase0, save_dir=tmp_path, start_iteration=start).psro_config()
    with pytest.raises(UserError, match="has 2 finished iterations"):
        Flags(phase0_dir=phase0, save_dir=tmp_path, start_iteration=4).psro_config()
