"""A Metamon model in the seats of an arena."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import amago
import gin
import numpy as np
import torch
from metamon.interface import UniversalAction, UniversalState
from metamon.rl.pretrained import PretrainedModel
from numpy.typing import NDArray

from metamon_ext.arena.policy import CHUNK, in_chunks
from metamon_ext.errors import UserError, in_one_line
from metamon_ext.learning.extraction import critic_index, improved_policy
from metamon_ext.learning.losses import mask_logits
from metamon_ext.upstream.checkpoints import Checkpoint, find_checkpoint
from metamon_ext.upstream.extraction import critic_discounts, q_values
from metamon_ext.upstream.hidden_state import Rows, blank, put, take
from metamon_ext.upstream.models import build_model, load_weights

if TYPE_CHECKING:
    from metamon_ext.arena.policy import Decision


def load_agent(checkpoint: Checkpoint, temperature: float = 1.0) -> amago.Experiment:
    """The agent of a checkpoint, for play. Raises UserError if it cannot be built or loaded."""
    what = f"checkpoint {checkpoint.epoch} of {checkpoint.name}"
    path = checkpoint.weights()
    experiment = fresh_agent(build_model(checkpoint), path, what, temperature)
    load_weights(experiment.policy, path, what)
    experiment.policy.eval()
    return experiment


def fresh_agent(
    model: PretrainedModel, path: Path, what: str, temperature: float = 1.0
) -> amago.Experiment:
    """`model.initialize_agent`, quietly and without the weights in `path`."""
    gin.clear_config()  # of a model that was built before in this process
    model.get_path_to_checkpoint = lambda _: str(path)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            # Metamon loads no checkpoint 0
            return PretrainedModel.initialize_agent(model, 0, False, temperature)
        except Exception as error:  # a gin file's mistake, or an attention that is not installed
            raise UserError(f"Cannot build {what}: {in_one_line(error)}") from error


def spare_the_collector() -> None:
    """Keep Python's garbage collector away from what stays for ever.

    Metamon's tables and torch are millions of objects, and following a battle makes many more that
    live a turn or two: looking for cycles in all of them took a fifth of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class Memory:
    """What is kept of one battle: what AMAGO's environment and its agent would keep of it."""

    def __init__(self, space: Any, rl2_dim: int, rows: Rows) -> None:
        self.space = space
        self.before = self.after = rows  # the hidden state before and after the latest decision
        self.rl2 = np.zeros(rl2_dim, np.float32)
        self.time = -1
        self.action = 0
        self.state: UniversalState | None = None
        self.observation: dict[str, NDArray[Any]] = {}

    def observe(self, state: UniversalState, reward_function: Any) -> None:
        """Take in the state of a decision; asked again in the same state, nothing moves on.

        rl2, (1 + actions,), is the reward since the last decision and the action that was taken
        there, one-hot; all zero at the first (`amago.hindsight.Timestep.as_input`).
        """
        if state is self.state:
            return
        if self.state is not None:
            self.rl2[:] = 0
            self.rl2[0] = reward_function(self.state, state)
            self.rl2[1 + self.action] = 1
        self.time += 1
        self.state, self.before = state, self.after
        self.observation = self.space.state_to_obs(state)


class MetamonPolicy:
    """Plays a Metamon model, all battles of a worker in one batch, each with its own memory.

    A model sees what `metamon.rl.evaluate` shows it: its own observation space on the states of its
    own `battle_backend`, the previous action, and the previous reward by its own reward function.
    `torch.compile` is left out: on a CPU it costs half a minute and gains nothing.

    Args:
        model: a registered name (`metamon.rl.pretrained`, or a checkpoint of your own).
        checkpoint: the epoch; by default the model's own choice.
        temperature: of `MetamonDiscrete`, which clips the probabilities to [0.001, 0.99] after
            it. Unlike there an illegal action is never drawn. 0 takes the likeliest.
        battle_backend: metamon, pokeagent or poke-env; by default the model's own.
        beta: more than 0 plays `improved_policy` by the critics in the place of pi, in 1 / units
            of the model's reward function.
        gamma: the discount of the critic that is used for that; by default the agent's main one.

    Raises UserError for a model that cannot be built, ValueError if it has no such critic.
    """

    def __init__(
        self,
        model: str,
        checkpoint: int | str | None = None,
        temperature: float | str = 1.0,
        battle_backend: str | None = None,
        beta: float | str = 0.0,
        gamma: float | str | None = None,
    ) -> None:
        epoch = None if checkpoint is None else int(checkpoint)
        self._greedy = float(temperature) == 0
        found = find_checkpoint(model, epoch)
        self._model = build_model(found)
        self.battle_backend = battle_backend or self._model.battle_backend
        self._experiment = load_agent(found, float(temperature) or 1.0)
        self._agent = self._experiment.policy
        self._beta = float(beta) / (float(temperature) or 1.0)
        discount = None if gamma is None else float(gamma)
        self._critic = critic_index(critic_discounts(self._agent), discount) if self._beta else -1
        self._device = self._experiment.DEVICE
        if self._device.type == "cpu":
            torch.set_num_threads(1)  # workers share the cores already
        self._actions = self._model.action_space.gym_space.n
        self._hidden = blank(self._agent.traj_encoder, CHUNK, self._device)
        (self._blank,) = take(self._hidden, 1)
        self._memories: dict[str, Memory] = {}
        spare_the_collector()

    def begin(self, battle_id: str) -> None:
        """Start with the blank memory of the network."""
        space = self._model.observation_space
        space = copy.deepcopy(space, {id(space.tokenizer): space.tokenizer})
        space.reset()
        self._memories[battle_id] = Memory(space, 1 + self._actions, self._blank)

    def end(self, battle_id: str) -> None:
        """Forget the battle."""
        self._memories.pop(battle_id, None)

    def act(self, decisions: Sequence[Decision]) -> list[int]:
        """Draw an action for each decision from the probabilities of the network."""
        return [self._choose(*each) for each in in_chunks(decisions, self.probabilities)]

    def probabilities(self, decisions: Sequence[Decision]) -> NDArray[np.float32]:
        """pi(a|s) of up to CHUNK decisions, (CHUNK, actions); moves the memories on."""
        memories = [self._memories[decision.battle_id] for decision in decisions]
        rl2s = np.zeros((CHUNK, 1, 1 + self._actions), np.float32)
        time_idxs = np.zeros((CHUNK, 1, 1), np.int64)
        observations: dict[str, NDArray[Any]] = {}
        illegal = np.zeros((CHUNK, 1, self._actions), bool)
        for i, (decision, memory) in enumerate(zip(decisions, memories, strict=True)):
            memory.observe(decision.state, self._model.reward_function)
            for key, value in memory.observation.items():
                if key not in observations:
                    observations[key] = np.zeros((CHUNK, 1, *value.shape), value.dtype)
                observations[key][i, 0] = value
            illegal[i] = True
            illegal[i, 0, list(self._outputs(decision))] = False
            rl2s[i, 0], time_idxs[i] = memory.rl2, memory.time
        observations["illegal_actions"] = illegal
        put(self._hidden, [memory.before for memory in memories])
        probs, hidden = self._forward(
            {key: self._tensor(value) for key, value in observations.items()},
            self._tensor(rl2s),
            self._tensor(time_idxs),
        )
        for memory, rows in zip(memories, take(hidden, len(memories)), strict=True):
            memory.after = rows
        return probs

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)

    def _forward(
        self, obs: dict[str, torch.Tensor], rl2s: torch.Tensor, time_idxs: torch.Tensor
    ) -> tuple[NDArray[np.float32], Any]:
        """`Agent.get_actions` up to the distribution that it samples from."""
        agent = self._agent
        with (
            torch.inference_mode(),
            torch.compiler.set_stance("force_eager"),
            self._experiment.caster(),
        ):
            emb = agent.tstep_encoder(obs=obs, rl2s=rl2s)
            emb, hidden = agent.traj_encoder(emb, time_idxs=time_idxs, hidden_state=self._hidden)
            seen = {key: obs[key] for key in agent.pass_obs_keys_to_actor}
            dists = agent.actor(emb, straight_from_obs=seen)  # (CHUNK, 1, gammas, actions)
            probs = dists.probs[:, 0, -1].float()
            if self._beta:
                log_probs = mask_logits(probs.log(), ~obs["illegal_actions"][:, 0])
                q = q_values(agent, emb)[:, 0, self._critic].float()
                probs = improved_policy(log_probs, q, self._beta).exp()
            return probs.cpu().numpy(), hidden

    def _outputs(self, decision: Decision) -> dict[int, int]:
        """The legal outputs of the agent, and the action that each of them is."""
        space, state = self._model.action_space, self._memories[decision.battle_id].state
        outputs: dict[int, int] = {}
        for action in decision.legal_actions:
            output = space.action_to_agent_output(state, UniversalAction(action))
            outputs.setdefault(int(output), action)
        return outputs

    def _choose(self, decision: Decision, probs: NDArray[np.float32]) -> int:
        outputs = self._outputs(decision)
        weights = probs[list(outputs)].astype(np.float64)
        if self._greedy:
            output = list(outputs)[int(weights.argmax())]
        else:
            output = decision.rng.choices(list(outputs), weights.tolist())[0]
        self._memories[decision.battle_id].action = output
        return outputs[output]
