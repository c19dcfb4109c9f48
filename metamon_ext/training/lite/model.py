"""A small recurrent actor-critic over the decisions of a battle.

    e_i = f(action row i)                          each of the 13 actions on its own, one network
    x_t = g(state row, mean_i e_i, max_i e_i)      the moment
    h_t = GRU(x_t, h_{t-1})                        the battle so far
    pi(a_i | x_t, h_t), Q_g(x_t, a_i)              scored by comparing these with e_i

An action is described by what it does, not by its index, so that what is learned of one move holds
for every other like it.

The critics do without the memory. The thought is that from a battle so far one can tell who plays,
and that a critic that knows who plays blames an action for the company it keeps. In our runs this
was not separated from chance (59.8 +- 3.9 % against 56.9 +- 3.8 % with memory), but it is cheaper.
"""

from __future__ import annotations

from typing import Any

import gin
import torch
from torch import Tensor, nn

from metamon_ext.learning.losses import mask_logits
from metamon_ext.spaces.registry import make_observation_space
from metamon_ext.training.lite.config import OBS_SPACE


class ActionHead(nn.Module):
    """Scores each action in its context: u_i = W relu(A h + B e_i) + b, `outputs` numbers each."""

    def __init__(self, context_dim: int, action_dim: int, hidden_dim: int, outputs: int) -> None:
        super().__init__()
        self.context = nn.Linear(context_dim, hidden_dim)
        self.action = nn.Linear(action_dim, hidden_dim, bias=False)
        self.score = nn.Linear(hidden_dim, outputs)

    def forward(self, context: Tensor, actions: Tensor) -> Tensor:
        """(..., context_dim), (..., 13, action_dim) -> (..., 13, outputs)."""
        return self.score(torch.relu(self.context(context).unsqueeze(-2) + self.action(actions)))


class Heads(nn.Module):
    """Actor and critics. The target networks are a second copy of these."""

    def __init__(self, context_dim: int, action_dim: int, hidden_dim: int, gammas: int) -> None:
        super().__init__()
        self.actor = ActionHead(2 * context_dim, action_dim, hidden_dim, 1)
        self.critics = ActionHead(context_dim, action_dim, hidden_dim, gammas)

    def log_probs(self, x: Tensor, h: Tensor, e: Tensor, legal: Tensor) -> Tensor:
        """log pi(a | x, h), (..., 13); what is illegal has no probability."""
        logits = self.actor(torch.cat([x, h], dim=-1), e).squeeze(-1)
        return torch.log_softmax(mask_logits(logits, legal), dim=-1)

    def q_values(self, x: Tensor, e: Tensor) -> Tensor:
        """Q_g(x, a), (..., 13, gammas)."""
        return self.critics(x, e)


@gin.configurable(module="metamon_ext")
class LiteModel(nn.Module):
    """The network.

    Args:
        gammas: number of discount factors, one critic each.
        action_dim: width of e_i.
        context_dim: width of x_t and h_t.
        hidden_dim: width inside actor and critics.
        obs_space: the registered name of the observation space.
    """

    def __init__(
        self,
        gammas: int,
        action_dim: int = 64,
        context_dim: int = 128,
        hidden_dim: int = 64,
        obs_space: str = OBS_SPACE,
    ) -> None:
        super().__init__()
        self.sizes: dict[str, Any] = {
            "gammas": gammas,
            "action_dim": action_dim,
            "context_dim": context_dim,
            "hidden_dim": hidden_dim,
            "obs_space": obs_space,
        }
        self.space = space = make_observation_space(obs_space)
        self.action_encoder = nn.Sequential(
            nn.Linear(space.action_dim, action_dim), nn.ReLU(), nn.Linear(action_dim, action_dim)
        )
        self.step_encoder = nn.Sequential(
            nn.Linear(space.state_dim + 2 * action_dim, context_dim), nn.ReLU(),
            nn.Linear(context_dim, context_dim), nn.LayerNorm(context_dim),
        )  # fmt: skip
        self.memory = nn.GRUCell(context_dim, context_dim)
        self.heads = Heads(context_dim, action_dim, hidden_dim, gammas)

    def encode(self, state: Tensor, actions: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., context_dim) and e (..., 13, action_dim) of single moments.

        Args:
            state: (..., state_dim).
            actions: (..., 13, action_dim).
            legal: (..., 13), bool: which actions are pooled.
        """
        e = self.action_encoder(actions)
        weight = legal.unsqueeze(-1).to(e.dtype)
        mean = (e * weight).sum(-2) / weight.sum(-2).clamp(min=1)
        best = (torch.relu(e) * weight).amax(-2)
        return self.step_encoder(torch.cat([state, mean, best], dim=-1)), e

    def forward(
        self, state: Tensor, actions: Tensor, legal: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x, h (B, L, context_dim) and e (B, L, 13, action_dim) of slices of battles.

        Args:
            state, actions, legal: as in `encode`, with (B, L) in front.
            start: (B, L), bool: where another battle begins, and the memory with it.
        """
        x, e = self.encode(state, actions, legal)
        h = x.new_zeros(x.shape[0], x.shape[-1])
        keep = (~start).to(x.dtype).unsqueeze(-1)
        hs = []
        for t in range(x.shape[1]):
            h = self.memory(x[:, t], h * keep[:, t])
            hs.append(h)
        return x, torch.stack(hs, dim=1), e

    def step(
        self, state: Tensor, actions: Tensor, legal: Tensor, h: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log pi (N, 13), Q (N, 13, gammas) and the next h (N, context_dim) of N battles."""
        x, e = self.encode(state, actions, legal)
        h = self.memory(x, h)
        return self.heads.log_probs(x, h, e, legal), self.heads.q_values(x, e), h
