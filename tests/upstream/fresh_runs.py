"""Training runs with freshly initialised weights, laid out as AMAGO leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from metamon.rl.pretrained import PretrainedModel

from metamon_ext.upstream.adopt import describe
from metamon_ext.upstream.models import model_arguments
from metamon_ext.upstream.policy import fresh_agent
from metamon_ext.upstream.register import register_spaces
from metamon_ext.upstream.runs import GIN_FILES, Run

TRANSFORMER = """
import amago.nets.actor_critic
import amago.nets.traj_encoders
import amago.agent
MetamonAMAGOExperiment.agent_type = @agent.MultiTaskAgent
MetamonAMAGOExperiment.tstep_encoder_type = @MetamonPerceiverTstepEncoder
MetamonAMAGOExperiment.traj_encoder_type = @traj_encoders.TformerTrajEncoder
MetamonAMAGOExperiment.max_seq_len = 24
MultiTaskAgent.actor_type = @MetamonMaskedActor
MultiTaskAgent.pass_obs_keys_to_actor = ["illegal_actions"]
MultiTaskAgent.critic_type = @actor_critic.NCriticsTwoHot
MetamonPerceiverTstepEncoder.d_model = 20
MetamonPerceiverTstepEncoder.n_layers = 1
MetamonPerceiverTstepEncoder.n_heads = 2
traj_encoders.TformerTrajEncoder.n_layers = 2
traj_encoders.TformerTrajEncoder.n_heads = 2
traj_encoders.TformerTrajEncoder.d_ff = 64
traj_encoders.TformerTrajEncoder.d_model = 32
"""
"""A transformer whose cache is full, and rolls, well before a battle ends."""

RNN = {
    "model_gin_config": "small_rnn.gin",
    "train_gin_config": "binary_rl.gin",
    "reward_function": "AggressiveShapedReward",
    "observation_space": "ExpandedObservationSpace",
    "action_space": "MinimalActionSpace",
    "tokenizer": "DefaultObservationSpace-v1",
}
"""The record of a small recurrent network."""


def fresh_run(
    save_dir: Path, name: str, record: dict[str, Any], epochs: tuple[int, ...] = (1,), seed: int = 0
) -> Path:
    """A run whose checkpoints were never trained. Returns its folder."""
    folder = save_dir / name
    run = empty_run(folder, record)
    register_spaces()
    paths = {part: str(folder.resolve() / file) for part, file in GIN_FILES.items()}
    arguments = model_arguments(content_of(record) | paths, name)
    torch.manual_seed(seed)
    for epoch in epochs:
        model = PretrainedModel(model_name=name, hf_cache_dir=str(folder / "cache"), **arguments)
        policy = fresh_agent(model, folder / "x" / "x" / "x" / "x", name).policy
        torch.save(policy.state_dict(), run.weights(epoch))
        run.write_record(epoch, content_of(record))
    return folder


def content_of(record: dict[str, Any]) -> dict[str, Any]:
    """The full record of a run, from its base model and the parts that differ."""
    given = dict(record)
    return describe(given.pop("base_model", None), given)


def empty_run(folder: Path, record: dict[str, Any] | None, *epochs: int) -> Run:
    """A run whose checkpoints are empty files."""
    run = Run(folder)
    run.weights_folder.mkdir(parents=True)
    for epoch in epochs:
        run.weights(epoch).touch()
    if record is not None:
        content = content_of(record)
        for part, file in GIN_FILES.items():
            (folder / file).write_text(content["gin"][part])
        for epoch in epochs:
            run.write_record(epoch, content)
    return run


def transformer_record(folder: Path) -> dict[str, Any]:
    """The record of a small transformer; its gin file is written into a folder."""
    file = folder / "transformer.gin"
    file.write_text(TRANSFORMER)
    return RNN | {
        "model_gin_config": str(file),
        "observation_space": "OpponentMoveObservationSpace",
        "action_space": "DefaultActionSpace",
    }
