"""Our rewards and observation space in Metamon's own data set, on real trajectories."""

from __future__ import annotations

import copy
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metamon.config import SUPPORTED_BATTLE_FORMATS
from metamon.data import MetamonDataset
from metamon.interface import (
    DefaultActionSpace,
    ExpandedObservationSpace,
    TokenizedObservationSpace,
)
from metamon.interface import UniversalState as MetamonState
from metamon.tokenizer import UNKNOWN_TOKEN, get_tokenizer

from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.spaces.matchup_numbers import MATCHUP_NUMBERS, MatchupNumbers
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.spaces.shaped_rewards import MarginReward, PotentialShapedReward
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.upstream.observations import ExpandedMatchupObservationSpace
from tests.support.recorded_states import recordings

ARENA = Path(__file__).parents[1] / "data" / "arena"
REWARDS = (PotentialShapedReward, MarginReward, WinLossReward)
TOKENIZERS = ("DefaultObservationSpace-v0", "DefaultObservationSpace-v1")
FORMATS = sorted(folder.name for folder in ARENA.iterdir())


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., MetamonDataset]:
    """A data set of the recorded battles. Metamon leaves an index beside what it reads."""

    def make(**parts: Any) -> MetamonDataset:
        shutil.copytree(ARENA, tmp_path, dirs_exist_ok=True)
        defaults = {
            "dset_root": str(tmp_path),
            "observation_space": ExpandedMatchupObservationSpace(),
            "action_space": DefaultActionSpace(),
            "reward_function": WinLossReward(),
            "formats": FORMATS,
        }
        return MetamonDataset(**(defaults | parts))

    return make


@pytest.mark.parametrize("reward", REWARDS)
def test_rewards_are_the_same_on_metamons_states_and_on_ours(
    reward: type, dataset: Callable[..., MetamonDataset]
) -> None:
    battles = dataset(reward_function=reward())
    assert len(battles) >= 12
    for i, name in enumerate(battles.filenames):
        states = [UniversalState.from_dict(s) for s in read_trajectory(Path(name)).states]
        ours = [reward()(*pair) for pair in pairwise(states)]
        _, _, theirs, _ = battles[i]
        np.testing.assert_allclose(theirs, ours, atol=1e-6)


@pytest.mark.parametrize("reward", REWARDS)
def test_rewards_travel_to_other_processes(reward: type) -> None:
    travelled = pickle.loads(pickle.dumps(reward()))
    assert vars(copy.deepcopy(travelled)) == vars(reward())


def test_metamons_numbers_and_text_are_kept_and_ours_follow(
    dataset: Callable[..., MetamonDataset],
) -> None:
    ours = dataset()
    theirs = dataset(observation_space=ExpandedObservationSpace())
    matchup, added = MatchupNumbers(), len(MATCHUP_NUMBERS)
    for name in ours.filenames:
        seen, *_ = ours.load_filename(name)
        base, *_ = theirs.load_filename(name)
        assert [str(text) for text in seen["text"]] == [str(text) for text in base["text"]]
        np.testing.assert_array_equal(np.array(seen["numbers"])[:, :-added], base["numbers"])
        matchup.reset()
        states = [UniversalState.from_dict(s) for s in read_trajectory(Path(name)).states]
        expected = [matchup(state) for state in states]
        np.testing.assert_array_equal(np.array(seen["numbers"])[:, -added:], expected)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_observations_lie_in_the_gym_space(
    tokenizer: str, dataset: Callable[..., MetamonDataset]
) -> None:
    base = ExpandedMatchupObservationSpace()
    space = TokenizedObservationSpace(base, get_tokenizer(tokenizer))
    assert space.gym_space["numbers"].shape == (65,)
    battles = dataset(observation_space=space)
    observations, *_ = battles[0]
    for numbers, tokens in zip(observations["numbers"], observations["text_tokens"], strict=True):
        assert numbers.dtype == np.float32
        assert space.gym_space.contains({"numbers": numbers, "text_tokens": tokens})


@pytest.mark.parametrize(
    ("tokenizer", "gens"),
    [
        ("DefaultObservationSpace-v0", ("gen1", "gen2", "gen3", "gen4")),
        ("DefaultObservationSpace-v1", ("gen1", "gen2", "gen3", "gen4", "gen9")),
    ],
)
def test_metamons_tokenizer_knows_every_word(tokenizer: str, gens: tuple[str, ...]) -> None:
    """In the formats that Metamon plays; v1 of the tokenizer is the one that knows gen 9."""
    known, words = get_tokenizer(tokenizer), Counter[str]()
    battles = [read_trajectory(path).states for path in trajectory_files(ARENA)]
    battles += [copy.deepcopy(recording["states"]) for recording in recordings()]
    space = ExpandedMatchupObservationSpace()
    for states in battles:
        space.reset()
        if states[0]["format"] in SUPPORTED_BATTLE_FORMATS and states[0]["format"][:4] in gens:
            for state in states:
                words.update(space(MetamonState.from_dict(state))["text"].item().split(" "))
    assert words.total() > 100_000
    assert [word for word in words if known[word] == UNKNOWN_TOKEN] == []
