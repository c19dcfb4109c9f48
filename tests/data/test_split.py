"""Held-out battles: both points of view together, stable, and as many as asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.filter import CacheFilter, split_name
from metamon_ext.data.featurized import Featurized
from metamon_ext.data.split import Split, battle_id, draw_battles
from metamon_ext.data.trajectory import write_trajectory
from metamon_ext.errors import UserError
from tests.data.cache.test_cache import Plain
from tests.support.states import make_battle, make_name

FRACTIONS = st.floats(0, 1)
IDS = st.text(st.characters(exclude_characters="_/", codec="utf-8"), min_size=1, max_size=20)


@given(battle=IDS, fraction=FRACTIONS, seed=st.integers(0, 2**70))
def test_both_points_of_view_are_on_one_side_and_every_battle_on_one(
    battle: str, fraction: float, seed: int
) -> None:
    train, test = (Split(side, fraction, seed) for side in ("train", "test"))
    one = f"gen1ou/{battle}_1500_red_vs_blue_01-31-2026_WIN.json.lz4"
    other = f"all.tar//gen1ou/{battle}_Unrated_blue_vs_red_01-31-2026_LOSS.json.lz4"
    assert test.keeps(one) == test.keeps(other) == (not train.keeps(one))
    assert Split("all", fraction, seed).keeps(one)
    assert not Split("test", 0.0, seed).keeps(one) and Split("test", 1.0, seed).keeps(one)


@given(battle=IDS, fractions=st.tuples(FRACTIONS, FRACTIONS), seed=st.integers(0, 100))
def test_a_larger_fraction_holds_out_the_battles_of_a_smaller_one(
    battle: str, fractions: tuple[float, float], seed: int
) -> None:
    small, large = (Split("test", fraction, seed) for fraction in sorted(fractions))
    assert not small.keeps(f"{battle}_") or large.keeps(f"{battle}_")


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5])
def test_the_share_is_the_fraction_and_seeds_hold_out_other_battles(fraction: float) -> None:
    names = [f"metamon-gen1ou-{i}_" for i in range(20_000)]
    one, other = (
        {name for name in names if Split("test", fraction, seed).keeps(name)} for seed in (0, 1)
    )
    assert len(one) / len(names) == pytest.approx(fraction, abs=0.01)
    assert len(one & other) / len(names) == pytest.approx(fraction**2, abs=0.01)


@given(st.sets(IDS, min_size=1), st.sets(IDS), st.integers(1, 5))
def test_drawn_battles_stay_drawn_when_others_leave(
    some: set[str], more: set[str], most: int
) -> None:
    drawn = draw_battles(some | more, most, seed=3)
    assert len(drawn) == min(most, len(some | more))
    assert drawn & some <= draw_battles(some, most, seed=3)


@pytest.fixture
def battles(tmp_path: Path) -> Path:
    """40 battles from both points of view, one of them cut off."""
    for number in range(40):
        for player, outcome in (("red", "WIN"), ("blue", "LOSS")):
            ends = {"battle_lost": False} if number == 7 and player == "blue" else {}
            states, actions = make_battle(number + 2, outcome)
            states[-1] |= ends
            rating = 1000 + 20 * number if number % 2 else None
            name = make_name(number, player=player, outcome=outcome, rating=rating)
            write_trajectory(tmp_path / "data" / "gen1ou", name, states, actions)
    return tmp_path / "data"


def test_a_folder_and_its_cache_have_the_same_sides(battles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c.mmap"
    build(battles, folder, Plain())
    sides = {}
    for side in ("train", "test", "all"):
        split = Split(side, 0.3)
        files, cached = Featurized(Plain(), battles, split=split), f"{folder}?split={side}"
        found = {(one.battle_id, one.rating, one.won, len(one.rows)) for one in files}
        assert len(found) == len(files)
        without_cut_off = {one for one in found if one[2] is not None}
        for caches, other in (([str(folder)], split), ([f"{cached}&test_fraction=0.3"], None)):
            rows = Featurized(Plain(), cached=caches, split=other)
            in_cache = {(one.battle_id, one.rating, one.won, len(one.rows)) for one in rows}
            assert in_cache == without_cut_off
        sides[side] = {battle for battle, *_ in found}
        assert len(found) == 2 * len(sides[side])
    assert sides["train"] | sides["test"] == sides["all"]
    assert not sides["train"] & sides["test"] and 5 <= len(sides["test"]) <= 20


def test_a_number_of_battles_is_drawn_with_both_points_of_view(battles: Path) -> None:
    drawn = [[one.battle_id for one in Featurized(Plain(), battles, max_battles=5, seed=s)]
             for s in (0, 0, 1)]  # fmt: skip
    assert len(set(drawn[0])) == 5 and len(drawn[0]) == 10
    assert drawn[0] == drawn[1] != drawn[2]


def test_bad_input_says_what_is_wrong(battles: Path, tmp_path: Path) -> None:
    for bad, says in (
        ({"test_fraction": 1.5}, "test_fraction must be from 0 to 1, not 1.5"),
        ({"split": "dev"}, "split must be one of train, test, all, not 'dev'"),
        ({"split_seed": -1}, "-1 is not a seed"),
    ):
        with pytest.raises(UserError, match=says):
            Split(**bad)
    with pytest.raises(UserError, match="split must be one of"):
        CacheFilter.parse("split=dev")
    assert split_name("x.mmap?split=test&test_fraction=0.2")[1].side() == Split("test", 0.2)
    with pytest.raises(UserError, match=r"no trajectories .* on the test side"):
        Featurized(Plain(), battles, split=Split("test", 0.0))
    with pytest.raises(UserError, match="either --data_dir or --cached"):
        Featurized(Plain())
    assert battle_id("a/b_c.json") == "b"
