"""`SDPAttention` computes what AMAGO's vanilla attention computes, and takes its checkpoints."""

from __future__ import annotations

import gin
import pytest
import torch
from amago.nets.traj_encoders import TformerTrajEncoder
from amago.nets.transformer import VanillaAttention, VanillaFlexAttention

from metamon_ext.upstream.attention import SDPAttention

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2e-2}
B, L, S, H, E = 3, 20, 32, 4, 16


pytestmark = pytest.mark.usefixtures("eager")


def windowed(qkv: torch.Tensor, left: int) -> torch.Tensor:
    """The definition, one query at a time, in float64."""
    q, k, v = qkv.double().unbind(2)
    out = torch.zeros_like(q)
    for t in range(q.shape[1]):
        seen = slice(0 if left < 0 else max(0, t - left), t + 1)
        scores = torch.einsum("bhe,bshe->bhs", q[:, t], k[:, seen]) / E**0.5
        out[:, t] = torch.einsum("bhs,bshe->bhe", scores.softmax(-1), v[:, seen])
    return out


def caches() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((B, S, H, E), torch.nan), torch.full((B, S, H, E), torch.nan)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_sequence_agrees_with_vanilla(dtype: torch.dtype) -> None:
    qkv = torch.randn(B, L, 3, H, E, dtype=dtype)
    ours, theirs = SDPAttention(causal=True, dropout=0.0), VanillaAttention(True, 0.0)
    assert ours(qkv).dtype == dtype
    torch.testing.assert_close(ours(qkv), theirs(qkv), atol=TOLERANCE[dtype], rtol=0)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_cached_steps_agree_with_vanilla_at_every_place(dtype: torch.dtype) -> None:
    ours, theirs = SDPAttention(True, 0.0).eval(), VanillaAttention(True, 0.0).eval()
    our_cache = [cache.to(dtype) for cache in caches()]
    their_cache = [cache.clone() for cache in our_cache]
    places = torch.tensor([0, 5, 11], dtype=torch.int32)
    for cache in zip(our_cache, their_cache, strict=True):
        for row, place in enumerate(places):
            history = torch.randn(place, H, E, dtype=dtype)
            cache[0][row, :place] = cache[1][row, :place] = history
    for t in range(L):
        qkv = torch.randn(B, 1, 3, H, E, dtype=dtype)
        a, b = ours(qkv, *our_cache, places + t), theirs(qkv, *their_cache, places + t)
        torch.testing.assert_close(a, b, atol=TOLERANCE[dtype], rtol=0)
    for a, b in zip(our_cache, their_cache, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("left", [-1, 0, 5, 19, 31])
def test_the_window_is_the_same_with_and_without_a_cache(left: int) -> None:
    """(left, 0) is what Metamon's released models give to FlashAttention."""
    attention = SDPAttention(causal=True, window_size=(left, 0)).eval()
    qkv, cache = torch.randn(B, L, 3, H, E), caches()
    expected = windowed(qkv, left).float()
    torch.testing.assert_close(attention(qkv), expected, atol=2e-6, rtol=0)
    for t in range(L):
        place = torch.full((B,), t, dtype=torch.int32)
        step = attention(qkv[:, t : t + 1], *cache, place)
        torch.testing.assert_close(step[:, 0], expected[:, t], atol=2e-6, rtol=0)


def test_computing_in_bf16_stays_near_fp32() -> None:
    qkv = torch.randn(B, L, 3, H, E)
    fast, exact = SDPAttention(dtype="bfloat16").eval(), SDPAttention().eval()
    assert fast(qkv).dtype == torch.float32
    torch.testing.assert_close(fast(qkv), exact(qkv), atol=2e-2, rtol=0)
    a = fast(qkv[:, :1], *caches(), torch.zeros(B, dtype=torch.int32))
    torch.testing.assert_close(a, exact(qkv[:, :1]), atol=2e-2, rtol=0)


def test_the_gradient_agrees_with_vanilla() -> None:
    grads = []
    qkv = torch.randn(B, L, 3, H, E)
    for attention in (SDPAttention(True, 0.0), VanillaAttention(True, 0.0)):
        inputs = qkv.clone().requires_grad_()
        attention(inputs).square().sum().backward()
        grads.append(inputs.grad)
    torch.testing.assert_close(*grads, atol=2e-5, rtol=0)


def test_dropout_is_for_training_only() -> None:
    qkv = torch.randn(B, L, 3, H, E)
    attention = SDPAttention(dropout=0.5)
    assert not torch.equal(attention.train()(qkv), attention(qkv))
    assert torch.equal(attention.eval()(qkv), attention(qkv))


def test_the_window_of_the_models_gin_file_is_kept() -> None:
    gin.parse_config("import amago.nets.transformer\nFlashAttention.window_size = (96, 0)")
    assert SDPAttention().left == 96
    assert SDPAttention(window_size=(-1, -1)).left == -1


def test_it_lives_in_amagos_compiled_layers() -> None:
    encoder = TformerTrajEncoder(
        tstep_dim=8, max_seq_len=8, d_model=16, n_heads=2, d_ff=16, n_layers=1,
        dropout_ff=0.0, dropout_emb=0.0, sigma_reparam=False, attention_type=SDPAttention,
    )  # fmt: skip
    sequence, times = torch.randn(2, 8, 8), torch.arange(8).expand(2, 8).unsqueeze(-1)
    eager = encoder(sequence, times)[0]
    with torch.compiler.set_stance("default"):
        compiled = encoder(sequence, times)[0]
        compiled.sum().backward()
    torch.testing.assert_close(compiled, eager, atol=1e-5, rtol=0)


@pytest.mark.parametrize("theirs", [VanillaAttention, VanillaFlexAttention])
def test_checkpoints_are_interchangeable_and_play_the_same(theirs: type) -> None:
    """A battle longer than the cache, one step at a time, by one checkpoint in both encoders."""

    def encoder(attention: type) -> TformerTrajEncoder:
        return TformerTrajEncoder(
            tstep_dim=12, max_seq_len=16, d_model=32, n_heads=2, d_ff=64, n_layers=2,
            attention_type=attention,
        )  # fmt: skip

    a, b = encoder(SDPAttention), encoder(theirs)
    a.load_state_dict(b.state_dict())
    a.eval(), b.eval()
    state_a, state_b = a.init_hidden_state(B, "cpu"), b.init_hidden_state(B, "cpu")
    with torch.no_grad():
        for t in range(24):
            step, time = torch.randn(B, 1, 12), torch.full((B, 1, 1), t)
            (out_a, state_a), (out_b, state_b) = a(step, time, state_a), b(step, time, state_b)
            torch.testing.assert_close(out_a, out_b, atol=2e-5, rtol=0)
    sequence, times = torch.randn(B, 16, 12), torch.arange(16).expand(B, 16).unsqueeze(-1)
    for module in (a, b):  # in training mode, which is the only one for sequences, less dropout
        module.train()
        for part in module.modules():
            if isinstance(part, torch.nn.Dropout):
                part.eval()
    with torch.no_grad():
        out_a, out_b = a(sequence, times)[0], b(sequence, times)[0]
    torch.testing.assert_close(out_a, out_b, atol=2e-5, rtol=0)
