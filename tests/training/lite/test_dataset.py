"""Trajectory files become arrays, all of them or none."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from metamon_ext.data.trajectory import write_trajectory
from metamon_ext.errors import UserError
from metamon_ext.training.lite.dataset import Dataset, load_folder
from metamon_ext.training.lite.featurizer import Decisions
from tests.support.states import make_battle, make_name, make_state, write_battle


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three battles of 2, 3 and 4 decisions, all won."""
    for number in (1, 2, 3):
        write_battle(tmp_path, number)
    return load_folder(tmp_path)


@pytest.fixture
def decisions(dataset: Dataset) -> Decisions:
    return all_of(dataset)


def all_of(dataset: Dataset) -> Decisions:
    return dataset.take(torch.arange(len(dataset)))


def test_several_processes_read_the_same_in_the_same_order(tmp_path: Path) -> None:
    for number in range(34):  # more than one process takes at a time
        write_battle(tmp_path, number)
    together, alone = (all_of(load_folder(tmp_path, workers=n)) for n in (2, 1))
    for field in fields(Decisions):
        assert torch.equal(getattr(together, field.name), getattr(alone, field.name)), field.name
    (tmp_path / "gen1ou" / "broken.json.lz4").write_bytes(b"")
    with pytest.raises(UserError, match="broken"):
        load_folder(tmp_path, workers=2)


def test_a_row_is_a_decision_and_the_blank_last_action_is_none(decisions: Decisions) -> None:
    assert len(decisions.action) == 2 + 3 + 4
    assert decisions.action.tolist() == [0, 1, 0, 1, 2, 0, 1, 2, 3]
    assert decisions.start.nonzero().flatten().tolist() == [0, 2, 5]
    assert decisions.done.nonzero().flatten().tolist() == [1, 4, 8]
    assert torch.equal(decisions.reward, decisions.done.float())  # +1 where a battle is won


def test_actions_that_no_battle_offers_are_left_out(decisions: Decisions) -> None:
    assert decisions.legal.shape == (9, 6) and decisions.legal.all()
    assert decisions.actions.shape[:2] == (9, 6)


def test_slices_are_consecutive_and_start_anywhere(dataset: Dataset) -> None:
    slices = dataset.slices(500, 4, torch.Generator().manual_seed(0))
    assert ((slices[:, 1:] - slices[:, :-1]) % 9 == 1).all()
    assert set(slices[:, 0].tolist()) == set(range(9))
    assert dataset.take(slices).state.shape[:2] == (500, 4)
    assert dataset.take(slices).state.dtype == torch.float32


def test_a_missing_action_stays_missing(tmp_path: Path) -> None:
    states, _ = make_battle(3)
    write_trajectory(tmp_path, make_name(), states, [2, -1, 0, -1])
    assert all_of(load_folder(tmp_path)).action.tolist() == [2, -1, 0]


def test_an_action_that_was_taken_was_legal(tmp_path: Path) -> None:
    states = [make_state(forced_switch=True), make_state(battle_lost=True)]
    write_trajectory(tmp_path, make_name(outcome="LOSS"), states, [7, -1])
    assert all_of(load_folder(tmp_path)).legal.nonzero()[:, 1].tolist() == [4, 5, 7]


def test_a_folder_without_trajectories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trajectories"):
        load_folder(tmp_path)


def test_a_damaged_file_is_named_not_skipped(tmp_path: Path) -> None:
    write_battle(tmp_path, 1)
    bad = write_battle(tmp_path, 2)
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(UserError, match=bad.name):
        load_folder(tmp_path)


def test_a_state_without_its_fields_is_named_not_skipped(tmp_path: Path) -> None:
    states, actions = make_battle(3)
    del states[1]["weather"]
    bad = write_trajectory(tmp_path, make_name(), states, actions)
    with pytest.raises(UserError, match=bad.name):
        load_folder(tmp_path)
