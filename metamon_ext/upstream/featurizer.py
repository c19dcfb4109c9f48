"""Metamon's observations, actions and rewards as the rows of a cache."""

from __future__ import annotations

import copy
import hashlib
import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import metamon
import numpy as np
import orjson
import torch
from amago.loading import RLData
from metamon import interface
from metamon.data import MetamonDataset
from metamon.interface import (
    ActionSpace,
    RewardFunction,
    TokenizedObservationSpace,
    UniversalAction,
    UniversalMove,
    UniversalPokemon,
    UniversalState,
)
from metamon.rl.metamon_to_amago import MetamonAMAGODataset
from metamon.tokenizer import PokemonTokenizer, get_tokenizer
from metamon.tokenizer.tokenizer import PREMADE_TOKEN_LISTS, UNKNOWN_TOKEN
from numpy.typing import NDArray

from metamon_ext.data.cache.arrays import Header
from metamon_ext.data.trajectory import Trajectory, TrajectoryError
from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.upstream.fast_battle import QuickState
from metamon_ext.upstream.gin_files import find_training_file
from metamon_ext.upstream.register import make_reward, register_spaces, registered_name

TOKENIZER = "DefaultObservationSpace-v1"
ACTION_SPACE = "DefaultActionSpace"
FEATURIZER = "metamon"
NAMES = ("obs_space", "reward_function", "tokenizer", "action_space")
ACTIONS, ILLEGAL, MISSING = "actions", "illegal_actions", "missing_action_mask"
REWARDS, DONES = "rewards", "dones"
RESERVED = frozenset((ACTIONS, ILLEGAL, MISSING, REWARDS, DONES))
"""Columns of a row; a key of an observation of the same name gets another one."""


class MetamonFeaturizer:
    """Rows that restore, value for value, what AMAGO gets from Metamon's data set.

    One row for each state: the keys of the observation, the action, the illegal actions in bits,
    whether the action is missing, and the reward and the end that followed. The last row is of the
    finished battle, without an action. Token ids take the smallest integer that fits all tokens.
    """

    def __init__(
        self,
        observation_space: TokenizedObservationSpace,
        action_space: ActionSpace,
        reward_function: RewardFunction,
    ) -> None:
        unused = copy.deepcopy(observation_space.base_obs_space)
        unused.reset()  # what it remembers of a battle is none of its settings
        self.definition = {
            "featurizer": FEATURIZER,
            "obs_space": registered_name(
                interface.ALL_OBSERVATION_SPACES, observation_space.base_obs_space
            ),
            "reward_function": registered_name(interface.ALL_REWARD_FUNCTIONS, reward_function),
            "tokenizer": observation_space.tokenizer.name,
            "action_space": registered_name(interface.ALL_ACTION_SPACES, action_space),
            "observation": _describe(unused),
            "reward": _describe(reward_function),
            "words": _digest(orjson.dumps(_vocabulary(observation_space.tokenizer))),
            "action": _describe(action_space),
            "metamon": metamon.__version__,
        }
        space = observation_space.gym_space
        self.shapes = {key: (box.dtype, box.shape) for key, box in space.spaces.items()}
        self._field = {key: f"obs_{key}" if key in RESERVED else key for key in self.shapes}
        self.num_actions = int(action_space.gym_space.n)
        fields: list[Any] = [
            (
                self._field[key],
                _smallest(box) if np.issubdtype(box.dtype, np.integer) else box.dtype,
                box.shape,
            )
            for key, box in space.spaces.items()
        ]
        fields += [
            (REWARDS, "<f4"),
            (ILLEGAL, "u1", (-(-self.num_actions // 8),)),
            (ACTIONS, "u1"),
            (MISSING, "?"),
            (DONES, "?"),
        ]
        self.row = np.dtype(fields)
        self.spaces = observation_space, action_space, reward_function
        self._reader = _Reader(*self.spaces)
        self._loader = MetamonAMAGODataset(MetamonDataset("/", *self.spaces, formats=[]))
        self._known: dict[frozenset[int], list[int]] = {}
        self._one_hot = torch.eye(self.num_actions)

    @classmethod
    def named(
        cls,
        obs_space: str,
        reward_function: str,
        tokenizer: str | None = None,
        action_space: str | None = None,
        gin_file: str | None = None,
    ) -> MetamonFeaturizer:
        """By the names that Metamon has, ours included, with what a gin file binds to the reward.

        Raises UserError for an unknown name.
        """
        register_spaces()
        tokenizer, action_space = tokenizer or TOKENIZER, action_space or ACTION_SPACE
        for name, known in (
            (obs_space, interface.ALL_OBSERVATION_SPACES),
            (reward_function, interface.ALL_REWARD_FUNCTIONS),
            (tokenizer, PREMADE_TOKEN_LISTS),
            (action_space, interface.ALL_ACTION_SPACES),
        ):
            if name not in known:
                hint = did_you_mean(name, known)
                raise UserError(f"Unknown name {name!r}.{hint} Known: {', '.join(sorted(known))}.")
        return cls(
            TokenizedObservationSpace(
                interface.get_observation_space(obs_space), get_tokenizer(tokenizer)
            ),
            interface.get_action_space(action_space),
            make_reward(reward_function, find_training_file(gin_file))
            if gin_file
            else interface.get_reward_function(reward_function),
        )

    @classmethod
    def of_cache(cls, folder: Path) -> MetamonFeaturizer:
        """By the names in a cache's header."""
        names = Header.read(folder).definition
        if names.get("featurizer") != FEATURIZER:
            raise UserError(f"{folder}: not built for Metamon; metamon-ext train --cached takes it")
        featurizer = cls.named(*(names[key] for key in NAMES))
        space, actions, reward = featurizer.spaces
        for name, value in names["reward"]["settings"].items():
            setattr(reward, name, value)
        return cls(space, actions, reward)

    def rows(self, path: Path, trajectory: Trajectory) -> NDArray[np.void]:
        """A row a state. Raises TrajectoryError (`unobservable`) where Metamon's code fails."""
        try:
            content = self._reader.read(trajectory)
            rows = np.zeros(len(trajectory.states), self.row)
            for key, (dtype, shape) in self.shapes.items():
                values = np.stack([one[key] for one in content.obs])
                if values.dtype != dtype or values.shape[1:] != shape:
                    found = f"{key} is {values.dtype} {values.shape[1:]}, not {dtype} {shape}"
                    raise TrajectoryError(path, "unobservable", found)
                stored = rows[self._field[key]]
                stored[:] = values
                if stored.dtype != dtype and not np.array_equal(stored, values):
                    raise TrajectoryError(path, "unobservable", f"{key} is beyond the vocabulary")
            illegal = np.ones((len(rows), self.num_actions), dtype=bool)
            for i, legal in enumerate(content.legal):
                illegal[i, self._outputs(legal)] = False
        except TrajectoryError:
            raise
        except Exception as error:  # any fault in a file may surface as any error of theirs
            detail = f"{type(error).__name__}: {error}"
            raise TrajectoryError(path, "unobservable", detail) from None
        rows[ILLEGAL] = np.packbits(illegal, axis=-1)
        rows[ACTIONS][:-1] = np.maximum(content.chosen, 0)
        rows[MISSING][:-1] = content.missing
        rows[MISSING][-1] = True
        rows[REWARDS][:-1] = content.rewards
        rows[DONES][-2] = True
        return rows

    def _outputs(self, legal: frozenset[int]) -> list[int]:
        """What `MetamonAMAGODataset` makes of legal actions; it asks without a state."""
        if legal not in self._known:
            space = self._reader.action_space
            self._known[legal] = [
                space.action_to_agent_output(None, UniversalAction(action_idx=int(action)))
                for action in legal
            ]
        return self._known[legal]

    def rl_data(self, rows: NDArray[np.void]) -> RLData:
        """What `MetamonAMAGODataset` makes of the trajectory that these rows are of."""
        obs = {
            key: torch.from_numpy(rows[self._field[key]].astype(dtype))
            for key, (dtype, _) in self.shapes.items()
        }
        obs[MISSING] = torch.from_numpy(rows[MISSING].copy()).unsqueeze(-1)
        illegal = np.unpackbits(rows[ILLEGAL], axis=-1, count=self.num_actions)
        obs[ILLEGAL] = torch.from_numpy(illegal.view(bool))
        steps = rows[:-1]
        return RLData(
            obs=obs,
            actions=self._one_hot[torch.from_numpy(steps[ACTIONS].astype(np.int64))],
            rews=torch.from_numpy(steps[REWARDS].copy()).unsqueeze(-1),
            dones=torch.from_numpy(steps[DONES].copy()).unsqueeze(-1),
            time_idxs=torch.arange(len(rows)).unsqueeze(-1),
        )

    def restore(self, rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
        """The arrays of Metamon's loader, from rows."""
        return _arrays(self.rl_data(rows))

    def reference(self, path: Path) -> dict[str, NDArray[Any]]:
        """What AMAGO gets of a file from Metamon's own classes."""
        content = self._loader.parsed_replay_dset.load_filename(str(path))
        return _arrays(self._loader._process_data(content))


def _arrays(data: RLData) -> dict[str, NDArray[Any]]:
    tensors = {f"obs[{key}]": value for key, value in data.obs.items()}
    for name in ("actions", "rews", "dones", "time_idxs", "rl2s"):
        tensors[name] = getattr(data, name)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


class _Reader:
    """`MetamonDataset.load_filename`, for a trajectory that has been decoded and judged already.

    It puts the same questions to the same spaces, in the same order. What is faster: states share
    a Pokémon that stayed as it was, and the tokenizer is a quicker one.
    """

    def __init__(
        self,
        observation_space: TokenizedObservationSpace,
        action_space: ActionSpace,
        reward_function: RewardFunction,
    ) -> None:
        self.observation_space = copy.deepcopy(observation_space)
        self.observation_space.tokenizer = _QuickTokenizer(observation_space.tokenizer)
        self.action_space = copy.deepcopy(action_space)
        self.reward_function = copy.deepcopy(reward_function)

    def read(self, trajectory: Trajectory) -> _Content:
        states = _universal_states(trajectory.states)
        self.observation_space.reset()
        obs = [self.observation_space.state_to_obs(state) for state in states]
        chosen, legal, missing = [], [], []
        for state, index in zip(states[:-1], trajectory.actions[:-1], strict=True):
            action = UniversalAction(action_idx=index)
            chosen.append(self._output(state, action))
            possible = UniversalAction.maybe_valid_actions(state)
            legal.append(frozenset(self._output(state, one) for one in possible))
            missing.append(action.missing)
        rewards = [self.reward_function(*pair) for pair in pairwise(states)]
        return _Content(obs, chosen, legal, missing, rewards)

    def _output(self, state: UniversalState, action: UniversalAction) -> int:
        return int(self.action_space.action_to_agent_output(state, action))


class _Content(NamedTuple):
    """A trajectory as its spaces see it: an observation a state, the rest a decision each."""

    obs: list[dict[str, NDArray[Any]]]
    chosen: list[int]
    legal: list[frozenset[int]]
    missing: list[bool]
    rewards: list[float]


def _universal_states(states: list[dict[str, Any]]) -> list[UniversalState]:
    """As `UniversalState.from_dict` makes them, but sharing Pokémon, and quick to copy; `states`
    stay whole."""
    made: dict[tuple[str, str], tuple[dict[str, Any], UniversalPokemon]] = {}

    def pokemon(side: str, data: dict[str, Any]) -> UniversalPokemon:
        place = side, data["name"]
        if place not in made or made[place][0] != data:
            made[place] = data, UniversalPokemon.from_dict(dict(data))
        return made[place][1]

    def state(data: dict[str, Any]) -> UniversalState:
        content = {"can_tera": False, "opponent_teampreview": [], **data}
        for side in ("player", "opponent"):
            active, move = f"{side}_active_pokemon", f"{side}_prev_move"
            content[active] = pokemon(side, data[active])
            content[move] = UniversalMove(**data[move])
        team = data["available_switches"]
        content["available_switches"] = [pokemon("player", one) for one in team]
        return QuickState(**content)

    return list(map(state, states))


class _QuickTokenizer(PokemonTokenizer):
    """Gives a frozen tokenizer's ids at half the cost."""

    def __init__(self, tokenizer: PokemonTokenizer) -> None:
        super().__init__()
        self.name = tokenizer.name
        self._initial_ids = _vocabulary(tokenizer)

    def tokenize(self, text: str) -> NDArray[np.int32]:
        get = self._initial_ids.get
        return np.array([get(word, UNKNOWN_TOKEN) for word in text.split(" ")], dtype=np.int32)


def _vocabulary(tokenizer: PokemonTokenizer) -> dict[str, int]:
    return {word: tokenizer[word] for word in tokenizer.all_words}


def _smallest(box: Any) -> np.dtype[Any]:
    """The smallest signed integer that holds all of a box."""
    return np.min_scalar_type(min(int(box.low.min()), -int(box.high.max()) - 1))


def _describe(thing: object) -> dict[str, Any]:
    """An object's class, the source of it and of its bases, and its attributes."""
    kinds = [kind for kind in type(thing).__mro__ if kind.__module__ not in ("builtins", "abc")]
    source = "".join(map(_source, kinds))
    return {
        "class": f"{type(thing).__module__}.{type(thing).__qualname__}",
        "source": _digest(source.encode()),
        "settings": {name: _setting(value) for name, value in vars(thing).items()},
    }


def _setting(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_setting(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _setting(item) for key, item in value.items()}
    return _describe(value)


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # built in, or typed into an interpreter
        return kind.__qualname__


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
