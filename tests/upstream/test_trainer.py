"""Both trainers beside the real Metamon, and what each knows of the other's rewards and spaces."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from metamon import interface

import metamon_ext.wiring  # noqa: F401
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.verify import verify
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.spaces.observations import MatchupObservationSpace
from metamon_ext.spaces.registry import make_reward
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.training.lite.config import TrainConfig
from metamon_ext.training.lite.trainer import LiteTrainer
from metamon_ext.training.trainer import find_trainer
from metamon_ext.upstream.featurizer import MetamonFeaturizer
from metamon_ext.upstream.finetune_config import FinetuneConfig
from metamon_ext.upstream.register import register, register_spaces
from metamon_ext.upstream.runs import Run
from metamon_ext.upstream.trainer import MetamonTrainer, flags
from tests.support.flags import parse_config
from tests.upstream.finetuning import flags as words_of

BATTLES = Path(__file__).parents[1] / "data" / "arena" / "gen1ou"


def test_metamons_trainer_finetunes_resumes_and_starts_from_what_it_made(
    workplace: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    trainer, config = find_trainer("metamon"), _config(workplace, epochs=1)
    assert isinstance(trainer, MetamonTrainer)
    out, data = here / "runs" / "tuned", workplace / "battles"
    refs = trainer.train(data, None, config, out)
    (ref,) = refs
    assert ref.fingerprint == PolicyRef.resolve(f"{out}?checkpoint=0").fingerprint
    assert trainer.train(data, None, config, out) == refs
    again = trainer.train(data, None, _config(workplace, epochs=2), out)
    assert again[0] == ref and [p.options["checkpoint"] for p in again] == ["0", "1"]
    (other,) = trainer.train(data, ref, config, here / "runs" / "next")
    assert Run(here / "runs" / "next").record(0)["base_sha256"] == ref.describe()["sha256"]
    assert other.fingerprint != ref.fingerprint


def test_bad_input_of_metamons_trainer_is_an_exception(workplace: Path, here: Path) -> None:
    trainer, config = MetamonTrainer(), _config(workplace)
    with pytest.raises(UserError, match="No model to start from"):
        trainer.train(BATTLES, None, None, here / "run")
    with pytest.raises(UserError, match="cannot start from 'random'"):
        trainer.train(BATTLES, PolicyRef.resolve("random"), config, here / "run")
    with pytest.raises(UserError, match="no such folder"):
        trainer.train(here / "nothing", None, config, here / "run")


def _config(workplace: Path, **more: object) -> FinetuneConfig:
    return parse_config(*words_of(workplace, "unused", **more))


def test_flags_ask_for_the_config_that_they_come_from(workplace: Path) -> None:
    words = words_of(workplace, "r", formats=["gen1ou", "gen2ou"], log=True, eval_gens=[1, 9])
    config = parse_config(*words)
    again = parse_config(*flags(config))
    assert {k: _plain(v) for k, v in vars(again).items()} == {
        k: _plain(v) for k, v in vars(config).items()
    }


def _plain(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", ["DefaultShapedReward", "AggressiveShapedReward", "BinaryReward"])
def test_metamons_rewards_are_the_same_in_the_built_in_learner(name: str, here: Path) -> None:
    ours, theirs = make_reward(name), interface.get_reward_function(name)
    for path in trajectory_files(BATTLES):
        states = read_trajectory(path).states
        mine = [UniversalState.from_dict(state) for state in states]
        metamons = [interface.UniversalState.from_dict(dict(state)) for state in states]
        for i in range(len(states) - 1):
            assert ours(mine[i], mine[i + 1]) == theirs(metamons[i], metamons[i + 1])


def test_the_built_in_learner_trains_on_a_reward_of_metamons(here: Path) -> None:
    config = TrainConfig(steps=1, reward_function="DefaultShapedReward", gin=("train.length = 8",))
    (ref,) = LiteTrainer().train(BATTLES, None, config, here / "run")
    assert "DefaultShapedReward" in (here / "run" / "config.gin").read_text()
    assert ref == PolicyRef.resolve(str(here / "run"))
    with pytest.raises(UserError, match="Unknown reward function 'DefaultShapedRewrd'"):
        make_reward("DefaultShapedRewrd")


def test_our_observation_space_is_one_of_metamons(here: Path, tmp_path: Path) -> None:
    """The same numbers, also in a cache and in another process."""
    register()
    register_spaces()
    space = interface.get_observation_space("MatchupObservationSpace")
    ours = MatchupObservationSpace()
    for path in trajectory_files(BATTLES):
        states = read_trajectory(path).states
        space.reset()
        ours.reset()
        for state in states:
            expected = ours(UniversalState.from_dict(state))
            seen = space.state_to_obs(interface.UniversalState.from_dict(dict(state)))
            assert space.gym_space.contains(seen)
            assert all(np.array_equal(seen[key], expected[key]) for key in expected)
    featurizer = MetamonFeaturizer.named("MatchupObservationSpace", "WinLossReward")
    assert pickle.loads(pickle.dumps(featurizer)).definition == featurizer.definition
    build(BATTLES, tmp_path / "c.mmap", featurizer)
    again = MetamonFeaturizer.of_cache(tmp_path / "c.mmap")
    report = verify(tmp_path / "c.mmap", again, every=1)
    assert report.faults == [] and report.compared == report.trajectories == 4


def test_metamon_trains_on_our_observation_space(workplace: Path, here: Path) -> None:
    """With AMAGO's encoder of plain numbers, by Metamon's own training command."""
    from tests.upstream.finetuning import run

    model = here / "numbers.gin"
    model.write_text(NUMBERS)
    words = ["--run_name", "numbers", "--save_dir", str(here), "--model_gin_config", str(model)]
    words += ["--train_gin_config", str(_binary_advantage()), "--replay_weight", "0"]
    words += ["--custom_replay_dir", str(workplace / "battles"), "--formats", "gen1ou"]
    words += ["--epochs", "0", "--dloader_workers", "0", "--reward_function", "WinLossReward"]
    words += ["--obs_space", "MatchupObservationSpace", "--eval_gens"]
    answer = run(workplace, "-m", "metamon_ext", "run", "-m", "metamon.rl.train", *words)
    assert answer.returncode == 0, answer.stderr
    assert "FFTstepEncoder" in answer.stdout


def _binary_advantage() -> Path:
    from metamon_ext.upstream.gin_files import find_gin_file

    return find_gin_file("binary_advantage")


NUMBERS = """
import amago.agent
import amago.nets.actor_critic
import amago.nets.traj_encoders
import amago.nets.tstep_encoders
MetamonAMAGOExperiment.agent_type = @agent.MultiTaskAgent
MetamonAMAGOExperiment.tstep_encoder_type = @tstep_encoders.FFTstepEncoder
MetamonAMAGOExperiment.traj_encoder_type = @traj_encoders.GRUTrajEncoder
MetamonAMAGOExperiment.max_seq_len = 24
MultiTaskAgent.actor_type = @MetamonMaskedActor
MultiTaskAgent.pass_obs_keys_to_actor = ["illegal_actions"]
MultiTaskAgent.critic_type = @actor_critic.NCriticsTwoHot
tstep_encoders.FFTstepEncoder.specify_obs_keys = ["state", "actions"]
traj_encoders.GRUTrajEncoder.d_hidden = 32
"""
