"""Who sits in a seat: the protocol of policies, and how one is found by its name."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode

from metamon_ext.arena.tracking.tracker import has_metamon
from metamon_ext.arguments import split_options
from metamon_ext.errors import UserError

if TYPE_CHECKING:
    from metamon_ext.arena.tracking.tracker import Tracker
    from metamon_ext.spaces.universal import UniversalState

Row = TypeVar("Row")

CHUNK = 16
"""Decisions in one forward pass; fewer are padded. Kernels may round differently for other shapes,
so with a fixed one a battle's choices do not depend on what else is being played."""


class Decision(Protocol):
    """A moment at which a policy is asked."""

    @property
    def battle_id(self) -> str:
        """The battle and the seat: what a policy with memory files its memory under."""

    @property
    def state(self) -> UniversalState:
        """What the seat knows. Computed when first asked for."""

    @property
    def legal_actions(self) -> list[int]:
        """Metamon's action indices, ascending: 0-3 moves, 4-8 switches, 9-12 moves with tera."""

    @property
    def rng(self) -> random.Random:
        """The only randomness to use: the same for this decision whenever the battle is played."""

    @property
    def battle(self) -> Any:
        """The battle object of poke-env (or of Metamon), for players written against it."""

    def action_of(self, order: object) -> int:
        """The action index of a poke-env order, -1 if it has none here."""

    @property
    def tracker(self) -> Tracker:
        """What follows the battle for the seat; it may know more ways to look at it."""


class Policy(Protocol):
    """Chooses actions for a batch of decisions of different battles."""

    def begin(self, battle_id: str) -> None:
        """A battle starts."""

    def act(self, decisions: Sequence[Decision]) -> Sequence[int]:
        """One action index for each decision."""

    def end(self, battle_id: str) -> None:
        """A battle is over, or given up."""


def in_chunks(
    decisions: Sequence[Decision], forward: Callable[[Sequence[Decision]], Iterable[Row]]
) -> Iterator[tuple[Decision, Row]]:
    """Each decision with its row of what `forward` makes of up to `CHUNK` of them at a time.

    For policies that are networks; rows of padding, beyond the decisions, are left out.
    """
    for first in range(0, len(decisions), CHUNK):
        chunk = decisions[first : first + CHUNK]
        yield from zip(chunk, forward(chunk), strict=False)


HEURISTICS = {
    "random": "RandomPlayer",
    "max_base_power": "MaxBasePowerPlayer",
    "simple_heuristics": "SimpleHeuristicsPlayer",
}
"""Policy name -> class in `poke_env.player`."""


class HeuristicPolicy:
    """A player of poke-env, without any server.

    `epsilon` is the probability of a uniformly random legal action instead of the player's own.
    """

    def __init__(self, player_class: str, epsilon: float = 0.0) -> None:
        import poke_env.player

        self._player = getattr(poke_env.player, player_class)(start_listening=False)
        self._epsilon = float(epsilon)
        if not 0 <= self._epsilon <= 1:
            raise ValueError(f"epsilon is a probability in [0, 1], not {epsilon}")

    def begin(self, battle_id: str) -> None:
        pass

    def act(self, decisions: Sequence[Decision]) -> list[int]:
        return [self._choose(decision) for decision in decisions]

    def _choose(self, decision: Decision) -> int:
        rng = decision.rng
        if self._epsilon and rng.random() < self._epsilon:
            return rng.choice(decision.legal_actions)
        random.seed(rng.getrandbits(64))  # poke-env's players draw from the global generator
        return decision.action_of(self._player.choose_move(decision.battle))

    def end(self, battle_id: str) -> None:
        pass


def parse_policy(name: str) -> tuple[Callable[..., Policy], dict[str, Any]]:
    """What builds the policy of this name, and with which options. Builds nothing itself.

    `NAME[?option=value&...]`, NAME being one of `HEURISTICS`, the path of a run or of a checkpoint
    of the built-in learner, `module:attribute` for a class of your own, or, with Metamon, one of
    its baselines or models or a checkpoint of a run.
    Raises UserError for an unknown name, or options that the policy does not take.
    """
    base, query = split_options(name)
    try:
        options = dict(parse_qsl(query, strict_parsing=bool(query)))
    except ValueError:
        raise UserError(f"policy {name!r}: options are ?option=value&option=value") from None
    factory, named = _find_factory(name, base)
    _check_options(name, factory, named, options)
    return factory, named | options


def _find_factory(name: str, base: str) -> tuple[Callable[..., Policy], dict[str, Any]]:
    """What builds the policy `base`, and which of its arguments the name stands for."""
    if base in HEURISTICS:
        return HeuristicPolicy, {"player_class": HEURISTICS[base]}
    # os.path.exists is False for what cannot be a path, too
    if os.path.exists(base) and not (has_metamon() and Path(base, "ckpts").is_dir()):
        lite = importlib.import_module("metamon_ext.training.lite.policy")
        return lite.LitePolicy, {"checkpoint": base}
    module, _, attribute = base.partition(":")
    if attribute:
        try:
            factory = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise UserError(f"policy {name!r} cannot be imported: {error}") from None
        lacking = [m for m in ("begin", "act", "end") if not hasattr(factory, m)]
        if not callable(factory) or (isinstance(factory, type) and lacking):
            raise UserError(f"policy {name!r} is no policy: name a class with begin, act and end")
        return factory, {}
    if has_metamon():
        return importlib.import_module("metamon_ext.upstream.seats").find_policy(base)
    raise UserError(
        f"unknown policy {name!r}: use {', '.join(HEURISTICS)}, "
        "the path of a checkpoint, or module:Class"
    )


def _check_options(
    name: str, factory: Callable[..., Policy], named: dict[str, Any], options: dict[str, str]
) -> None:
    """Raise UserError for options that a policy does not take.

    A class may have `check(**options)`, which raises UserError or ValueError for bad values.
    """
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # written in another language
        return
    takes = [one for one in parameters if one not in named]
    unknown = next((option for option in options if option not in takes), None)
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    if unknown is not None and not takes_all:
        raise UserError(
            f"Policy {name!r} has no option {unknown!r}. "
            f"It takes {', '.join(takes) if takes else 'none'}."
        )
    if check := getattr(factory, "check", None):
        try:
            check(**named | options)
        except ValueError as error:
            raise UserError(f"Policy {name!r}: {error}.") from None


def with_options(name: str, **options: object) -> str:
    """The name with those of these options (None: not given) that the policy takes and lacks."""
    factory, own = parse_policy(name)
    takes = inspect.signature(factory).parameters.keys() - own.keys()
    query = urlencode({k: v for k, v in options.items() if k in takes and v is not None})
    return f"{name}{'&' if split_options(name)[1] else '?'}{query}" if query else name


def identify(name: str) -> dict[str, Any]:
    """What a policy is, so that a result can be traced and two checkpoints are never mixed up.

    `class`, `options` and, for a policy whose class has `weights(**options) -> Path`, the `weights`
    file and its `sha256`. Raises UserError for what `parse_policy` refuses, or weights not there.
    """
    factory, options = parse_policy(name)
    known: dict[str, Any] = {
        "policy": name,
        "class": f"{factory.__module__}:{factory.__qualname__}",
        "options": options,
    }
    if find_weights := getattr(factory, "weights", None):
        path = Path(find_weights(**options))
        try:
            known |= {"weights": str(path), "sha256": file_sha256(path)}
        except OSError as error:
            raise UserError(f"policy {name!r}: {path}: {error.strerror}") from None
    return known


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def make_policy(name: str) -> Policy:
    """Build the policy of this name. Raises UserError if it cannot be built."""
    factory, options = parse_policy(name)
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"policy {name!r} does not take these options: {error}") from None
    except OSError as error:
        raise UserError(f"policy {name!r} cannot be built: {error}") from None
