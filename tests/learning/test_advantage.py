"""The weights of policy regression are what their formulas say."""

from __future__ import annotations

import gin
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from metamon_ext.learning.advantage import behavior_cloning_filter, binary_advantage_filter

FINITE = st.floats(-100, 100, width=32)
SHAPES = array_shapes(min_dims=3, max_dims=3, max_side=4).map(lambda shape: (*shape, 1))
ADVANTAGES = arrays("float32", SHAPES, elements=st.floats(width=32, allow_nan=False)).map(
    torch.from_numpy
)


@given(ADVANTAGES, FINITE, FINITE, FINITE)
def test_each_weight_follows_from_its_advantage_alone(
    adv: torch.Tensor, positive: float, negative: float, threshold: float
) -> None:
    weights = binary_advantage_filter(adv, positive, negative, threshold)
    expected = [positive if a > threshold else negative for a in adv.flatten().tolist()]
    assert weights.flatten().tolist() == expected
    assert weights.shape == adv.shape


@pytest.mark.parametrize("weights_of", [binary_advantage_filter, behavior_cloning_filter])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_filter_is_pure_and_keeps_the_dtype(weights_of, dtype) -> None:  # type: ignore[no-untyped-def]
    adv = torch.randn(2, 3, 4, 1, dtype=dtype, requires_grad=True)
    before = adv.detach().clone()
    weights = weights_of(adv)
    assert weights.dtype == dtype and weights.shape == adv.shape
    assert not weights.requires_grad
    assert torch.equal(adv, before) and torch.equal(weights, weights_of(adv))


def test_cloning_weighs_everything_alike() -> None:
    assert torch.equal(behavior_cloning_filter(torch.randn(2, 3, 4, 1)), torch.ones(2, 3, 4, 1))


def test_gin_sets_the_weights_by_the_names_of_the_paper() -> None:
    with gin.unlock_config():
        gin.parse_config("metamon_ext.binary_advantage_filter.negative_weight = 0.5")
    try:
        assert binary_advantage_filter(torch.tensor([-1.0, 1.0])).tolist() == [0.5, 1.0]
    finally:
        gin.clear_config()
