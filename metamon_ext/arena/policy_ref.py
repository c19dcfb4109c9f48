"""Policies by name: `PolicyRef.resolve` finds out once what a name stands for.

`NAME[?option=value&...]`, NAME being one of `HEURISTICS`, a name that `register_policy` or an entry
point of the group `metamon_ext.policies` gave to a class, `module:Class`, or what a finder knows:
the path of a run or checkpoint, or, with Metamon, one of its baselines or models.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from metamon_ext.arena.policy import HEURISTICS, HeuristicPolicy, Policy
from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.files import file_sha256
from metamon_ext.registry import Registry
from metamon_ext.settings import split_options

Factory = Callable[..., Policy]
Found = tuple[Factory, dict[str, Any]]
"""What builds a policy, and which of its arguments the name stands for."""

POLICIES: Registry[Factory | Found] = Registry("policy", "metamon_ext.policies")
for _name, _class in HEURISTICS.items():
    POLICIES.register(_name, (HeuristicPolicy, {"player_class": _class}))


def register_policy(name: str, factory: Factory) -> None:
    """Give a policy's class a name, in this process and in the workers that it starts.

    A class of `__main__` must be importable there again: define it at the top of the script.
    """
    POLICIES.register(name, (factory, {}))


@dataclass(frozen=True)
class PolicyRef:
    """What a policy's name stands for. It travels to workers, which build the policy.

    Attributes:
        name: as it was given, with the options.
        factory: what builds the policy. If it has `weights(**options) -> Path`, that is the file
            of its weights; if it has `check(**options)`, that raises for bad values; if it has
            `members(**options)`, it is a mixture of these policies.
        options: the arguments of `factory`.
    """

    name: str
    factory: Factory
    options: Mapping[str, Any]

    @classmethod
    def resolve(cls, name: str) -> PolicyRef:
        """Find out what a name stands for, without building it.

        Raises UserError for an unknown name, or options that the policy does not take.
        """
        base, query = split_options(name)
        try:
            options = dict(parse_qsl(query, strict_parsing=bool(query)))
        except ValueError:
            raise UserError(f"policy {name!r}: options are ?option=value&option=value") from None
        factory, named = _find(name, base)
        _check_options(name, factory, named, options)
        return cls(name, factory, named | options)

    def with_options(self, **options: object) -> PolicyRef:
        """The policy with those of these options (None: not given) that it takes and lacks."""
        takes = inspect.signature(self.factory).parameters.keys() - self.options.keys()
        query = urlencode({k: v for k, v in options.items() if k in takes and v is not None})
        if not query:
            return self
        joint = "&" if split_options(self.name)[1] else "?"
        return PolicyRef.resolve(f"{self.name}{joint}{query}")

    @property
    def weights(self) -> Path | None:
        """The file of the weights, downloaded if need be; None for a policy without any."""
        find_weights = getattr(self.factory, "weights", None)
        return Path(find_weights(**self.options)) if find_weights else None

    @cached_property
    def members(self) -> Sequence[tuple[PolicyRef, float]]:
        """The policies that a mixture draws from, and their probabilities; else none."""
        list_members = getattr(self.factory, "members", None)
        return list_members(**self.options) if list_members else ()

    def draw(self, rng: random.Random) -> PolicyRef:
        """The policy that plays a battle: a member of a mixture, else this one."""
        if not self.members:
            return self
        refs, probabilities = zip(*self.members, strict=True)
        drawn: PolicyRef = rng.choices(refs, probabilities)[0]
        return drawn

    def describe(self) -> dict[str, Any]:
        """What results record of the policy.

        `policy`, `class`, `options`, where there are weights `weights` and `sha256`, and of a
        mixture its `members`. Raises UserError for weights that are not there.
        """
        return dict(self._description)

    @cached_property
    def _description(self) -> dict[str, Any]:
        known: dict[str, Any] = {
            "policy": self.name,
            "class": f"{self.factory.__module__}:{self.factory.__qualname__}",
            "options": dict(self.options),
        }
        if path := self.weights:
            try:
                known |= {"weights": str(path), "sha256": file_sha256(path)}
            except OSError as error:
                raise UserError(f"policy {self.name!r}: {path}: {error.strerror}") from None
        if self.members:
            known["members"] = [ref.describe() | {"probability": p} for ref, p in self.members]
        return known

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of class, options and, where there are any, weights or a mixture's members.

        Options that locate the weights or members do not count: the same policy under two names has
        one fingerprint, two checkpoints under one path have two. It is taken when it is first asked
        for, and then stays. Raises UserError for weights that are not there.
        """
        known = self._description
        options = dict(known["options"])
        for key, locate in (("sha256", "weights"), ("members", "members")):
            if key in known:
                for name in inspect.signature(getattr(self.factory, locate)).parameters:
                    options.pop(name, None)
        parts = [known["class"], sorted(map(str, options.items())), known.get("sha256")]
        parts += [[ref.fingerprint, probability] for ref, probability in self.members]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def build(self) -> Policy:
        """Build the policy. Raises UserError if that is not possible."""
        try:
            return self.factory(**self.options)
        except (TypeError, ValueError) as error:
            raise UserError(f"policy {self.name!r} does not take these options: {error}") from None
        except OSError as error:
            raise UserError(f"policy {self.name!r} cannot be built: {error}") from None


def _find(name: str, base: str) -> Found:
    found = POLICIES.lookup(base)
    if found is None:
        raise UserError(
            f"Unknown policy {name!r}.{did_you_mean(base, POLICIES.names())} "
            "Run metamon-ext models for the full list, or name the path of a run or module:Class."
        )
    return found if isinstance(found, tuple) else (_need_policy(name, found), {})


def _find_class(base: str) -> Factory | None:
    """The class that `module:Class` names, if it is not the path of something."""
    if ":" not in base or os.path.exists(base):
        return None
    module, _, attribute = base.partition(":")
    try:
        factory: Factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"policy {base!r} cannot be imported: {error}") from None
    return factory


POLICIES.add_finder(_find_class)


def _need_policy(name: str, factory: Any) -> Factory:
    lacking = [method for method in ("begin", "act", "end") if not hasattr(factory, method)]
    if not callable(factory) or (isinstance(factory, type) and lacking):
        raise UserError(f"policy {name!r} is no policy: name a class with begin, act and end")
    return factory


def check_checkpoint_options(
    factory: Factory, options: Mapping[str, str], check: Callable[..., None]
) -> None:
    """Raise UserError for options that checkpoints will not take.

    Args:
        factory: The class of the checkpoints' policies. Arguments of its `weights` locate a
            checkpoint, and are no options.
        options: Name -> value, as in a policy's name.
        check: Called with the options; raises ValueError for bad values.
    """
    locates = inspect.signature(factory.weights).parameters  # type: ignore[attr-defined]
    takes = inspect.signature(factory).parameters
    known = [name for name in takes if name not in locates]
    for name, value in options.items():
        if name not in known:
            raise UserError(f"A checkpoint has no option {name!r}. Use {', '.join(known)}.")
        if "float" in str(takes[name].annotation):
            try:
                float(value)
            except ValueError:
                raise UserError(f"Option {name}={value}: give a number.") from None
    try:
        check(**options)
    except ValueError as error:
        given = "&".join(f"{name}={value}" for name, value in options.items())
        raise UserError(
            f"Checkpoints do not take {given}: {str(error).removesuffix('.')}."
        ) from None


def _check_options(
    name: str, factory: Factory, named: dict[str, Any], options: dict[str, str]
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
