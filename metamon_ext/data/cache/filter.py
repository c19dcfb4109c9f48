"""Filters on the trajectories of a cache, written behind its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from metamon_ext.data.cache.arrays import HEADER, UNRATED, Cache
from metamon_ext.data.split import Side, Split
from metamon_ext.errors import UserError
from metamon_ext.settings import split_options

DEFAULT_RATING = 1000
"""The rating of an unrated battle, as in Metamon's filters."""


@dataclass(frozen=True)
class CacheFilter:
    """Which trajectories of a cache are sampled, in Metamon's terms. None: no limit.

    `formats` are names like gen1ou, `wins_losses_both` is "wins", "losses" or "both", and limits
    are inclusive. For `split`, `test_fraction` and `split_seed` see `Split`.
    """

    formats: tuple[str, ...] | None = None
    wins_losses_both: str = "both"
    min_rating: int | None = None
    max_rating: int | None = None
    min_date: datetime | None = None
    max_date: datetime | None = None
    split: Side = Split.split
    test_fraction: float = Split.test_fraction
    split_seed: int = Split.split_seed

    def __post_init__(self) -> None:
        self.side()  # raises for an invalid split

    def side(self) -> Split:
        """The side of the dataset that is sampled."""
        return Split(self.split, self.test_fraction, self.split_seed)

    @classmethod
    def parse(cls, text: str) -> CacheFilter:
        """Parse `formats=gen1ou,gen2ou&min_rating=1500&min_date=2024-05-31` (dates in ISO 8601).

        Raises UserError for an unknown filter or an invalid value.
        """
        converters: dict[str, Callable[[str], Any]] = {
            "formats": lambda value: tuple(value.split(",")),
            "wins_losses_both": _outcomes,
            "min_rating": int,
            "max_rating": int,
            "min_date": datetime.fromisoformat,
            "max_date": datetime.fromisoformat,
            "split": str,
            "test_fraction": float,
            "split_seed": int,
        }
        try:
            given = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
            return cls(**{name: converters[name](value) for name, value in given.items()})
        except (KeyError, ValueError) as error:
            problem = f"unknown filter {error}" if isinstance(error, KeyError) else error
            raise UserError(
                f"Invalid filter {text!r}: {problem}. Known filters: {', '.join(converters)}."
            ) from None

    def select(self, cache: Cache) -> NDArray[np.int64]:
        """The indices of the trajectories that pass, ascending. Raises UserError if none does."""
        index = cache.index
        keep = np.ones(len(index), dtype=bool)
        if self.formats is not None:
            names = cache.header.formats
            wanted = [names.index(name) for name in self.formats if name in names]
            keep &= np.isin(index["format"], wanted)
        if self.wins_losses_both != "both":
            keep &= index["won"] == (self.wins_losses_both == "wins")
        rating = np.where(index["rating"] == UNRATED, DEFAULT_RATING, index["rating"])
        if self.min_rating is not None:
            keep &= rating >= self.min_rating
        if self.max_rating is not None:
            keep &= rating <= self.max_rating
        if self.min_date is not None:
            keep &= index["date"] >= seconds(self.min_date)
        if self.max_date is not None:
            keep &= index["date"] <= seconds(self.max_date)
        if self.split != "all":
            keep &= on_side(cache, self.side())
        chosen = np.flatnonzero(keep)
        if not len(chosen):
            limits = ", ".join(
                f"{field.name} {value}"
                for field in fields(self)
                if (value := getattr(self, field.name)) != field.default
            )
            raise UserError(f"{cache.folder}: none of {len(index):,} trajectories passes {limits}.")
        return chosen


def on_side(cache: Cache, split: Split) -> NDArray[np.bool_]:
    """Whether each trajectory of a cache is on this side of the split."""
    return np.fromiter(map(split.keeps, cache.names()), bool, len(cache))


def _outcomes(value: str) -> str:
    if value not in ("wins", "losses", "both"):
        raise ValueError(f"wins_losses_both is wins, losses or both, not {value}")
    return value


def seconds(date: datetime) -> int:
    """Seconds since 1970 of a date, without its time zone."""
    return int(np.datetime64(date.replace(tzinfo=None), "s").astype(np.int64))


def names_cache(text: str | Path) -> bool:
    """Whether this is the folder of a cache, with or without a filter, and not of trajectories."""
    return (split_name(str(text))[0] / HEADER).is_file()


def split_name(text: str) -> tuple[Path, CacheFilter]:
    """`CACHE.mmap?min_rating=1500&formats=gen1ou` -> the folder and the filter."""
    folder, query = split_options(text)
    return Path(folder), CacheFilter.parse(query)
