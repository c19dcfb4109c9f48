"""Self-attention for AMAGO's transformer on torch's `scaled_dot_product_attention`."""

from __future__ import annotations

import gin
import torch
import torch.nn.functional as F
from amago.nets.transformer import SelfAttention
from torch import Tensor


@gin.configurable(module="metamon_ext")
class SDPAttention(SelfAttention):
    """out = softmax(Q K^T / sqrt(E) + M) V, in torch's own fused kernels.

    A drop-in for a checkpoint that was trained with AMAGO's `VanillaAttention` or, with the same
    window, `FlashAttention`: there are no weights in it. It needs no flash-attn wheel, and runs
    on CPU too.

    Args:
        causal: whether a step sees only itself and what was before it.
        dropout: of the attention matrix, in training.
        window_size: (left, right), how many steps back and ahead a step sees; -1 is no limit.
            None takes what the model's gin file says of `FlashAttention.window_size`, so that a
            released model keeps its window.
        dtype: "bfloat16" to compute as `FlashAttention` does; None keeps the dtype of the input.
            The result has the dtype of the input either way.
        matmul_precision: given to `torch.set_float32_matmul_precision`. AMAGO sets "high" (TF32)
            where it finds flash-attn, and nothing where it does not.
    """

    def __init__(
        self,
        causal: bool = True,
        dropout: float = 0.0,
        window_size: tuple[int, int] | None = None,
        dtype: str | None = None,
        matmul_precision: str | None = None,
    ) -> None:
        super().__init__(causal=causal, dropout=dropout)
        left, right = _flash_window() if window_size is None else window_size
        self.left = left
        self.right = 0 if causal else right
        self.dtype = None if dtype is None else getattr(torch, dtype)
        if matmul_precision is not None:
            torch.set_float32_matmul_precision(matmul_precision)

    @torch.compiler.disable  # as AMAGO's own: its layers compile, and torch 2.13 fails within them
    def forward(
        self,
        qkv: Tensor,
        key_cache: Tensor | None = None,
        val_cache: Tensor | None = None,
        cache_seqlens: Tensor | None = None,
    ) -> Tensor:
        """(B, L, 3, H, E) -> (B, L, H, E).

        Args:
            qkv: queries, keys and values; with a cache L is 1.
            key_cache, val_cache: (B, S, H, E), written in place; NaN where nothing is yet.
            cache_seqlens: (B,), the place of this step in the cache.
        """
        if key_cache is None or val_cache is None or cache_seqlens is None:
            q, k, v = qkv.transpose(1, 3).unbind(2)
            return self._attend(q, k, v, self._mask(qkv)).to(qkv.dtype)
        assert not self.training
        return self._step(qkv, key_cache, val_cache, cache_seqlens)

    def _step(self, qkv: Tensor, key_cache: Tensor, val_cache: Tensor, t: Tensor) -> Tensor:
        """One step of each sequence, which is at place t of its cache."""
        q, k, v = qkv.unbind(2)
        rows = torch.arange(len(qkv), device=qkv.device)
        key_cache[rows, t] = k[:, 0].to(key_cache.dtype)
        val_cache[rows, t] = v[:, 0].to(val_cache.dtype)
        end = int(t.max()) + 1
        place = torch.arange(end, device=qkv.device)
        seen = place <= t[:, None]
        if self.left >= 0:
            seen &= place >= t[:, None] - self.left
        # what is not seen may be NaN, and 0 * NaN is NaN
        k, v = (
            cache[:, :end].masked_fill(~seen[:, :, None, None], 0.0).transpose(1, 2)
            for cache in (key_cache, val_cache)
        )
        return self._attend(q.transpose(1, 2), k, v, seen[:, None, None]).to(qkv.dtype)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """(B, H, L, E), (B, H, S, E), (B, H, S, E) -> (B, L, H, E)."""
        dtype = self.dtype or q.dtype
        out = F.scaled_dot_product_attention(
            q.to(dtype),
            k.to(dtype),
            v.to(dtype),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.causal and mask is None,
        )
        return out.transpose(1, 2)

    def _mask(self, qkv: Tensor) -> Tensor | None:
        """(L, L), true where row sees column; None where causal or everything says it all."""
        length = qkv.shape[1]
        if (self.left < 0 or self.left >= length - 1) and (self.causal or self.right < 0):
            return None
        step = torch.arange(length, device=qkv.device)
        ahead = step - step[:, None]
        seen = torch.ones_like(ahead, dtype=torch.bool)
        if self.left >= 0:
            seen &= ahead >= -self.left
        if self.right >= 0:
            seen &= ahead <= self.right
        return seen


def _flash_window() -> tuple[int, int]:
    try:
        return gin.query_parameter("amago.nets.transformer.FlashAttention.window_size")
    except ValueError:
        return (-1, -1)
