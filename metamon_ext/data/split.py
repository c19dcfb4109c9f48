"""Held-out battles: a split of a dataset by battle."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from metamon_ext.errors import UserError
from metamon_ext.settings import check_seed

Side = Literal["train", "test", "all"]


@dataclass(frozen=True)
class Split:
    """One side of a dataset, in the terms of Metamon 1.6's `MetamonDataset`.

    A battle is on the test side if a hash of `split_seed` and its id, as a number in [0, 1), is
    below `test_fraction`. So both points of view of a battle are on one side, no battle changes
    sides when files are added, and a larger fraction holds out the battles of a smaller one, too.
    The share of the test side is `test_fraction` on average, not exactly.

    Attributes:
        split: "train", "test" or "all".
        test_fraction: the share of battles on the test side, from 0 to 1.
        split_seed: another seed holds out other battles.
    """

    split: Side = "all"
    test_fraction: float = 0.1
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in get_args(Side):
            known = ", ".join(get_args(Side))
            raise UserError(f"split must be one of {known}, not {self.split!r}.")
        if not 0 <= self.test_fraction <= 1:
            raise UserError(f"test_fraction must be from 0 to 1, not {self.test_fraction}.")
        check_seed(self.split_seed)

    def keeps(self, file: str) -> bool:
        """Whether the battle of a trajectory file is on this side."""
        if self.split == "all":
            return True
        held_out = _uniform(f"{self.split_seed}/{battle_id(file)}") < self.test_fraction
        return held_out == (self.split == "test")


def battle_id(file: str) -> str:
    """The battle of a trajectory file, the same for both of its players."""
    return file.rpartition("/")[2].partition("_")[0]


def draw_battles(battle_ids: Iterable[str], most: int, seed: int) -> set[str]:
    """At most so many of the battles, drawn by a hash of the seed and of their ids."""
    return set(heapq.nsmallest(most, set(battle_ids), lambda one: _uniform(f"draw/{seed}/{one}")))


def _uniform(text: str) -> float:
    """A hash of a text as a number in [0, 1)."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
