"""Training runs with freshly initialised weights, laid out as AMAGO leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from metamon_ext.upstream.models import RECORD, Run, _model_class
from metamon_ext.upstream.policy import load_agent

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
    weights = folder / "ckpts" / "policy_weights"
    weights.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(record))
    run = Run(folder, record)
    torch.manual_seed(seed)
    for epoch in epochs:
        agent = load_agent(name, _model_class(run, 0)(), 0, temperature=1.0)
        torch.save(agent.policy.state_dict(), weights / f"policy_epoch_{epoch}.pt")
    return folder


def transformer_record(folder: Path) -> dict[str, Any]:
    """The record of a small transformer; its gin file is written into a folder."""
    file = folder / "transformer.gin"
    file.write_text(TRANSFORMER)
    return RNN | {
        "model_gin_config": str(file),
        "observation_space": "OpponentMoveObservationSpace",
        "action_space": "DefaultActionSpace",
    }
