"""AMAGO's hidden states, taken apart by battle and put together to a batch."""

from __future__ import annotations

from typing import Any

import torch
from amago.nets.traj_encoders import GRUTrajEncoder, TrajEncoder
from amago.nets.transformer import TformerHiddenState

Rows = list[torch.Tensor]
"""What a hidden state holds of one battle: its tensors without their batch dimension."""


def blank(encoder: TrajEncoder, batch: int, device: torch.device) -> Any:
    """The hidden state at the start of `batch` battles; None if the encoder has no memory."""
    hidden = encoder.init_hidden_state(batch, device)
    if hidden is None and isinstance(encoder, GRUTrajEncoder):  # None stands for zeros there
        rnn = encoder.rnn
        hidden = torch.zeros(rnn.num_layers, batch, rnn.hidden_size, device=device)
    return hidden


def parts(hidden: Any) -> list[tuple[torch.Tensor, int]]:
    """The tensors of a hidden state, each with its batch dimension.

    GRU: (layers, batch, d_hidden). Transformer: keys and values, each (layers, batch, max_seq_len,
    heads, d_head), and how many of them are there, (batch,). Mamba: per layer (batch, ...).
    """
    if hidden is None:
        return []
    if isinstance(hidden, torch.Tensor):
        return [(hidden, 1)]
    if isinstance(hidden, TformerHiddenState):
        return [(hidden.key_cache.data, 1), (hidden.val_cache.data, 1), (hidden.seq_lens, 0)]
    return [(tensor, 0) for tensor in (*hidden.conv_states, *hidden.ssm_states)]


def put(hidden: Any, battles: list[Rows]) -> None:
    """Write battles into the first rows of a batch."""
    for k, (tensor, dim) in enumerate(parts(hidden)):
        for i, rows in enumerate(battles):
            tensor.select(dim, i).copy_(rows[k])


def take(hidden: Any, battles: int) -> list[Rows]:
    """Copy what a batch holds of its first battles."""
    tensors = parts(hidden)
    return [[t.select(dim, i).clone() for t, dim in tensors] for i in range(battles)]
