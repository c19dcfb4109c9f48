"""Names for parts that this package or others provide."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoints, entry_points
from typing import Generic, TypeVar

from metamon_ext.errors import UserError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Parts of one kind by name.

    A name is looked up among the registered parts, then among the entry points of installed
    packages, then with the finders.

    Args:
        kind: what a part is called in messages, like "reward function".
        entry_point_group: the group in which other packages declare their parts.
    """

    def __init__(self, kind: str, entry_point_group: str) -> None:
        self.kind = kind
        self.entry_point_group = entry_point_group
        self._parts: dict[str, T] = {}
        self._finders: list[Callable[[str], T | None]] = []

    def register(self, name: str, part: T) -> None:
        """Give a part a name, in this process."""
        self._parts[name] = part

    def add_finder(self, finder: Callable[[str], T | None], first: bool = False) -> None:
        """Ask `finder` for names that are not found otherwise, `first` or last of all finders."""
        self._finders.insert(0 if first else len(self._finders), finder)

    def names(self) -> list[str]:
        """The names of registered parts and of entry points."""
        return [*dict.fromkeys([*self._parts, *(e.name for e in self._entry_points())])]

    def find(self, name: str) -> T:
        """The part of this name. Raises UserError for an unknown name."""
        if (found := self.lookup(name)) is not None:
            return found
        known = self.names()
        hint = did_you_mean(str(name), known)
        raise UserError(f"Unknown {self.kind} {name!r}.{hint} Known: {', '.join(known)}.")

    def lookup(self, name: str) -> T | None:
        """The part of this name, None for an unknown name."""
        if name in self._parts:
            return self._parts[name]
        for entry_point in self._entry_points():
            if entry_point.name == name:
                part: T = entry_point.load()
                return part
        for finder in self._finders:
            if (found := finder(name)) is not None:
                return found
        return None

    def _entry_points(self) -> EntryPoints:
        return entry_points(group=self.entry_point_group)
