"""Our names in Metamon's registries, so that its command lines know them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from metamon import interface

from metamon_ext.errors import UserError
from metamon_ext.spaces.registry import OBSERVATION_SPACES, REWARDS
from metamon_ext.upstream.gin_files import only_bindings_of
from metamon_ext.upstream.observations import (
    ExpandedMatchupObservationSpace,
    RegisteredObservationSpace,
)


def register() -> None:
    """Make our rewards, observation spaces and checkpoints known to Metamon by name.

    Metamon's trainers read the names when they build their parsers, so this comes first. Doing it
    twice does no harm.
    """
    from metamon_ext.upstream.models import register_checkpoints

    register_spaces()
    register_checkpoints()


def register_spaces() -> None:
    """Our rewards and observation spaces alone."""
    for name in REWARDS.names():
        _add(name, REWARDS.find(name), interface.ALL_REWARD_FUNCTIONS)
    spaces: dict[str, Any] = {name: _space(name) for name in OBSERVATION_SPACES.names()}
    spaces[ExpandedMatchupObservationSpace.__name__] = ExpandedMatchupObservationSpace
    for name, space in spaces.items():
        _add(name, space, interface.ALL_OBSERVATION_SPACES)


@cache
def _space(name: str) -> Callable[[], RegisteredObservationSpace]:
    return partial(RegisteredObservationSpace, name)


def make_reward(name: str, gin_file: str | Path) -> interface.RewardFunction:
    """The reward function of this name, with the parameters that a gin file binds to it.

    Metamon builds its rewards before it parses any gin file, so that they never see one. Raises
    ValueError for an unknown name.
    """
    register_spaces()
    with only_bindings_of(gin_file):
        return interface.get_reward_function(name)


def metamon_reward(name: str) -> Callable[[], interface.RewardFunction]:
    """The class of one of Metamon's own reward functions."""
    found: Callable[[], interface.RewardFunction] = interface.ALL_REWARD_FUNCTIONS[name]
    return found


def registered_name(registry: dict[str, type], thing: object) -> str:
    """The name that Metamon has for the class of `thing`; the class's own where it has none."""
    if isinstance(thing, RegisteredObservationSpace):
        return thing.name
    names = (name for name, known in registry.items() if known is type(thing))
    return next(names, type(thing).__name__)


def _add(name: str, ours: Any, registry: dict[str, Any]) -> None:
    if registry.setdefault(name, ours) is not ours:
        raise UserError(f"Metamon has a {name} of its own: {registry[name]}")
