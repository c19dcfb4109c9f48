"""Mixtures of new and old battles."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.data.mixture import link_mixture
from metamon_ext.data.split import battle_id


def write(folder: Path, battles: range) -> Path:
    """Both points of view of some battles; their content is of no matter."""
    (folder / "gen1ou").mkdir(parents=True)
    for number in battles:
        for players, outcome in (("a_vs_b", "WIN"), ("b_vs_a", "LOSS")):
            name = f"metamon-gen1ou-{number}_Unrated_{players}_01-01-2026-00:00:00_{outcome}"
            (folder / "gen1ou" / f"{name}.json.lz4").touch()
    return folder


@settings(max_examples=40)
@given(
    new=st.integers(1, 12),
    old=st.integers(0, 30),
    overlap=st.integers(0, 3),
    share=st.sampled_from([0.2, 0.3, 0.5, 0.75, 1.0]),
    seed=st.integers(0, 3),
)
def test_the_share_of_new_battles_holds_as_far_as_there_are_old_ones(
    new: int, old: int, overlap: int, share: float, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        sources = {"new": write(root / "new", range(new))}
        begin = new - min(new, overlap)  # battles that are in both count as new
        kept = {"old": write(root / "old", range(begin, begin + old))}
        counts = link_mixture(sources, kept, root / "one", share, seed)
        there = len(set(range(begin, begin + old)) - set(range(new)))
        assert counts == {"new": new, "old": min(round(new * (1 - share) / share), there)}
        files = sorted(path.name for path in (root / "one").rglob("*.lz4"))
        assert len(files) == 2 * sum(counts.values()) == 2 * len({*map(battle_id, files)})

        assert link_mixture(sources, kept, root / "two", share, seed) == counts
        assert files == sorted(path.name for path in (root / "two").rglob("*.lz4"))
        assert link_mixture(sources, kept, root / "one", share, seed) == counts
        assert files == sorted(path.name for path in (root / "one").rglob("*.lz4"))
