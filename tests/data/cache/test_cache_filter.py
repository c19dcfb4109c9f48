"""A filter draws what the names of the files say."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.data.cache.arrays import Cache
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.filter import CacheFilter
from metamon_ext.data.trajectory import TrajectoryName, write_trajectory
from metamon_ext.errors import UserError
from tests.data.cache.test_cache import Plain
from tests.support.states import make_battle, make_name

RATINGS = (None, 1000, 1234, 1600)
DATES = tuple(datetime(2024, 5, 31) + timedelta(hours=12 * n) for n in range(4))


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    root = tmp_path_factory.mktemp("filter")
    chance = random.Random(0)
    for number in range(60):
        battle_format = chance.choice(["gen1ou", "gen4ou"])
        outcome = chance.choice(["WIN", "LOSS"])
        states, actions = make_battle(number + 1, outcome, format=battle_format)
        name = make_name(
            battle_id=f"metamon-{battle_format}-{number}",
            rating=chance.choice(RATINGS),
            date=chance.choice(DATES),
            outcome=outcome,
        )
        write_trajectory(root / "data" / battle_format, name, states, actions)
    build(root / "data", root / "c.mmap", Plain())
    return Cache(root / "c.mmap")


class TestFilter:
    @settings(max_examples=100, deadline=None)
    @given(
        formats=st.none() | st.lists(st.sampled_from(["gen1ou", "gen4ou", "gen9ou"]), min_size=1),
        wins_losses_both=st.sampled_from(["wins", "losses", "both"]),
        min_rating=st.none() | st.integers(900, 1700),
        max_rating=st.none() | st.integers(900, 1700),
        min_date=st.none() | st.sampled_from(DATES),
        max_date=st.none() | st.sampled_from(DATES),
    )
    def test_what_passes_is_what_the_names_say(self, rated: Cache, **limits: Any) -> None:
        if limits["formats"] is not None:
            limits["formats"] = tuple(limits["formats"])
        wanted = CacheFilter(**limits)

        def passes(file: Path) -> bool:
            name = TrajectoryName.parse(file.name)
            outcomes = {"WIN": "wins", "LOSS": "losses"}
            rating = 1000 if name.rating is None else name.rating
            return (
                (wanted.formats is None or file.parent.name in wanted.formats)
                and wanted.wins_losses_both in ("both", outcomes[name.outcome])
                and (wanted.min_rating is None or rating >= wanted.min_rating)
                and (wanted.max_rating is None or rating <= wanted.max_rating)
                and (wanted.min_date is None or name.date >= wanted.min_date)
                and (wanted.max_date is None or name.date <= wanted.max_date)
            )

        expected = [i for i in range(len(rated)) if passes(rated.path(i))]
        if expected:
            assert wanted.select(rated).tolist() == expected
        else:
            with pytest.raises(UserError, match="none of 60 trajectories passes"):
                wanted.select(rated)

    def test_a_filter_is_written_behind_the_name(self) -> None:
        text = "formats=gen1ou,gen4ou&min_rating=1500&max_date=2024-05-31&wins_losses_both=wins"
        assert CacheFilter.parse(text) == CacheFilter(
            ("gen1ou", "gen4ou"), "wins", min_rating=1500, max_date=datetime(2024, 5, 31)
        )
        assert CacheFilter.parse("") == CacheFilter()

    @pytest.mark.parametrize(
        "text", ["rating=3", "min_rating=high", "min_date=31.5.24", "wins_losses_both=x", "gen1ou"]
    )
    def test_what_is_no_filter_is_refused(self, text: str) -> None:
        with pytest.raises(UserError, match="Known filters: formats, wins_losses_both"):
            CacheFilter.parse(text)
