"""Flags of a command, made by tyro from its function.

Each parameter of the function is a flag, and so is each field of a parameter that is a config
dataclass. Types, defaults and help texts are those of the signature and of the docstrings. Words
may be joined by `_` or by `-`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro
from tyro import _errors  # its hook is not public: setup.cfg pins the version

from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.settings import default_workers

Command = Callable[..., int]
Functions = Mapping[str, Command | Mapping[str, Command]]
"""Command -> its function, or action -> function."""
T = TypeVar("T")
Positional = Annotated[T, tyro.conf.Positional]
Json = Annotated[bool, tyro.conf.arg(name="json", help="print one line of JSON")]
Workers = Annotated[int, tyro.conf.arg(help="processes")]
WORKERS = default_workers()
Resume = Annotated[
    bool, tyro.conf.arg(name="resume", help="fail if --output_dir has no run to resume")
]

SYNONYMS = (
    ("num_battles", "battles", "total_battles", "max_battles", "battles_per_matchup"),
    ("team_set", "teams"),
    ("models", "model"),
    ("workers", "num_workers"),
)
"""Names of a flag, the preferred one first. A command takes all of them for the one it has."""
KINDS = {"INT": "a whole number", "FLOAT": "a number"}
REPEATABLE = "--gin"
"""A flag that may be given several times."""
OPTIONS: dict[str, Any] = {
    "use_underscores": True,
    "config": (
        tyro.conf.OmitArgPrefixes,  # --seed, not --config.seed
        tyro.conf.FlagCreatePairsOff,  # no --no_json
        tyro.conf.DisallowNone,
        tyro.conf.PositionalMetavarFromFieldName,
    ),
}


def parse(command: Command, prog: str, description: str, argv: Sequence[str]) -> partial[int]:
    """The call of the command that the words ask for. Raises UserError for bad input."""
    names = _names(command)
    words = _canonical(argv, names)
    with _errors.on_parse_error(partial(_refuse, names=names)):
        call: partial[int] = tyro.cli(
            _deferred(command), prog=prog, description=description, args=words, **OPTIONS
        )
    return call


def require_run(path: Path) -> None:
    """Raise UserError unless there is a run to resume, whose results are at `path`."""
    if not path.exists():
        raise UserError(f"There is no run to resume in {path.parent}. Leave --resume out.")


def _deferred(command: Command) -> Callable[..., partial[int]]:
    @wraps(command)
    def deferred(*values: Any, **named: Any) -> partial[int]:
        return partial(command, *values, **named)

    return deferred


def _names(command: Command) -> list[str]:
    """All flags of a command."""
    hints = get_type_hints(command)
    del hints["return"]
    names = (
        [field.name for field in fields(hint)] if is_dataclass(hint) else [name]
        for name, hint in hints.items()
    )
    return [f"--{name}" for each in names for name in each]


def _canonical(argv: Sequence[str], names: Sequence[str]) -> list[str]:
    """The words with the command's own names of flags, and one REPEATABLE with all its values."""
    words: list[str] = []
    repeated: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word == "-m":  # as in `python -m`: what follows is the module's
            words += ["--", *rest]
            break
        flag, equals, value = word.partition("=")
        if flag == REPEATABLE:
            repeated += [value] if equals else [next(rest, "")]
            continue
        name = flag[2:].replace("-", "_")
        same = next((group for group in SYNONYMS if name in group), ())
        known = [f"--{one}" for one in same if f"--{one}" in names]
        if flag.startswith("--") and known and f"--{name}" not in known:
            flag = known[0]
        words.append(flag + equals + value)
    return [REPEATABLE, *repeated, *words] if repeated else words


def _refuse(event: _errors.ParseErrorEvent, names: Sequence[str]) -> None:
    """Raise in one line what is wrong."""
    match event:
        case _errors.UnrecognizedArgs(tokens=[word, *_]):
            what = f"Unknown argument {word!r}.{did_you_mean(word, names)}"
        case _errors.MissingArgs(missing_arguments=missing):
            what = f"Missing {', '.join(_flag(one.arg) for one in missing)}."
        case _errors.InvalidChoice(argument=argument, value=value, choices=choices):
            what = f"Invalid {_flag(argument)} {value!r}. Choose from {', '.join(choices)}."
        case _errors.InstantiationFailure(argument=argument, message=message) if argument:
            what = f"Invalid {_flag(argument)}: {message.rstrip('.')}."
            value = message.rpartition(": ")[2]  # as int() and float() say it
            if kind := KINDS.get(str(argument.lowered.metavar)):
                what = f"{_flag(argument)} must be {kind}, not {value}."
        case _errors.BadValue(argument=argument):
            what = f"{_flag(argument)} lacks a value: {argument.lowered.metavar}."
        case _:
            return  # tyro prints it
    raise UserError(f"{what} See {event.prog} --help.")


def _flag(argument: Any) -> str:
    """`--seed`, or `PATH` for a positional argument."""
    lowered = argument.lowered
    return str(lowered.metavar if argument.is_positional() else lowered.name_or_flags[-1])
