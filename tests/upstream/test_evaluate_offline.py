"""A Metamon model on recorded battles is the model that plays, and the one that trains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from amago.nets.actor_critic import NCriticsTwoHot
from metamon.interface import UniversalAction, UniversalState

from metamon_ext.cli import main
from metamon_ext.data.featurized import Featurized
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.upstream.featurizer import ILLEGAL
from metamon_ext.upstream.kl_regularization import IN_TRAINING_MODE
from metamon_ext.upstream.policy import MetamonPolicy
from metamon_ext.upstream.predictor import MetamonPredictor
from tests.upstream.fresh_runs import RNN, fresh_run, transformer_record
from tests.upstream.helpers import ARENA

Output = pytest.CaptureFixture[str]
CLONING = {"train_gin_config": "il.gin"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the runs rnn, transformer and cloning."""
    folder = tmp_path_factory.mktemp("work")
    fresh_run(folder / "runs", "rnn", RNN)
    fresh_run(folder / "runs", "transformer", transformer_record(folder))
    fresh_run(folder / "runs", "cloning", RNN | CLONING)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@dataclass
class Asked:
    battle_id: str
    state: UniversalState

    @property
    def legal_actions(self) -> list[int]:
        return sorted(one.action_idx for one in UniversalAction.maybe_valid_actions(self.state))


@pytest.mark.parametrize("model", ["rnn_Epoch1", "transformer_Epoch1"])
def test_its_predictions_are_the_probabilities_that_it_plays_with(runs: None, model: str) -> None:
    predictor, policy = MetamonPredictor(model), MetamonPolicy(model)
    paths = list(trajectory_files(ARENA))[::4]
    trajectories = list(map(read_trajectory, paths))
    rows = [predictor.featurizer.rows(*each) for each in zip(paths, trajectories, strict=True)]
    for name, trajectory, one in zip(paths, trajectories, predictor.predict(rows), strict=True):
        policy.begin(str(name))
        played = []
        for state, action in zip(trajectory.states[:-1], one.action, strict=True):
            asked = Asked(str(name), UniversalState.from_dict(dict(state)))
            played.append(policy.probabilities([asked])[0])
            policy._memories[str(name)].action = int(action)
        assert len(played) == trajectory.decisions == len(one.reward)
        np.testing.assert_allclose(np.exp(one.log_probs), played, atol=1e-5)
        assert one.legal[np.arange(len(one.action)), one.action].mean() > 0.9
    assert max(trajectory.decisions for trajectory in trajectories) > 24  # the memory rolls


@pytest.mark.parametrize("model", ["rnn_Epoch1", "transformer_Epoch1"])
def test_its_values_are_those_of_training(runs: None, model: str) -> None:
    """AMAGO's own forward pass over a sequence that the transformer remembers completely."""
    predictor, length = MetamonPredictor(model), 16
    agent: Any = predictor._agent
    (one, *_) = Featurized(predictor.featurizer, ARENA / "gen1ou")
    (predictions,) = predictor.predict([one.rows])
    data = predictor.featurizer.rl_data(one.rows)
    obs = {key: value[None, :length] for key, value in data.obs.items()}
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        steps = agent.tstep_encoder(obs=obs, rl2s=data.rl2s[None, :length])
        for module in agent.traj_encoder.modules():  # without dropout
            module.training = isinstance(module, IN_TRAINING_MODE[:2])
        memory, _ = agent.traj_encoder(
            steps, time_idxs=data.time_idxs[None, :length], hidden_state=None
        )
        shape = (1, 1, length, len(agent.gammas), data.actions.shape[-1])
        taken = data.actions[None, None, :length, None].expand(shape)
        policy = agent.actor(memory, straight_from_obs={ILLEGAL: obs[ILLEGAL]})
        if isinstance(critics := agent.critics, NCriticsTwoHot):
            q = critics.bin_dist_to_raw_vals(critics(memory, taken))
            draws = torch.eye(shape[-1])[policy.sample((400,)).squeeze(-1)]
            value = critics.bin_dist_to_raw_vals(critics(memory, draws))
        else:
            q = agent.popart(critics(memory, taken), normalized=False)
            value = agent.popart(critics(memory, policy.probs[None]), normalized=False)
    q, value = (x.mean(3).squeeze(-1)[:, 0] / agent.reward_multiplier for x in (q, value))
    np.testing.assert_allclose(predictions.q_taken[:length], q[0], rtol=1e-3, atol=1e-5)
    noise = 5 * value.std(0, correction=0) / 20 + 1e-5
    assert (abs(predictions.value[:length] - value.mean(0).numpy()) < noise.numpy()).all()


def test_the_command_takes_models_folders_and_caches(runs: Path, capsys: Output) -> None:
    parts = ("--obs_space", RNN["observation_space"], "--action_space", RNN["action_space"])
    reward = ("--reward_function", RNN["reward_function"], "--tokenizer", RNN["tokenizer"])
    assert main(["cache", "build", str(ARENA), "--output", "c.mmap", *parts, *reward]) == 0
    capsys.readouterr()
    found = []
    for data in (("--data_dir", str(ARENA)), ("--cached", "c.mmap")):
        assert main(["evaluate_offline", "--model", "rnn_Epoch1", *data, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["models"]["rnn_Epoch1"])
    folder, cache = found
    assert folder["overall"]["battles"] == cache["overall"]["battles"] == 10
    assert folder["overall"]["figures"]["brier"]["value"] is not None
    for name, estimate in folder["overall"]["figures"].items():
        assert cache["overall"]["figures"][name]["value"] == pytest.approx(estimate["value"])


def test_a_cloned_model_has_no_figures_of_a_value(runs: None, capsys: Output) -> None:
    data = ("--data_dir", str(ARENA / "gen1ou"))
    assert main(["evaluate_offline", "--model", "cloning_Epoch1", *data]) == 0
    assert "no trained critics" in capsys.readouterr().out
    assert main(["evaluate_offline", "--model", "RandomBaseline", *data]) == 2
    assert "'RandomBaseline' gives no probabilities" in capsys.readouterr().err
