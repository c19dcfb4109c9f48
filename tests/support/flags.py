"""What a command is asked for by its flags."""

from __future__ import annotations

from typing import Any

from metamon_ext.cli import find_command
from metamon_ext.cli.flags import parse
from metamon_ext.upstream.finetune_config import FinetuneConfig


def settings_of(command: str, *words: str) -> dict[str, Any]:
    """The arguments of a command's function, with those of its config in their place."""
    name, *action = command.split()
    found = find_command(name)
    function = found[action[0]] if action else found
    call = parse(function, command, "", words)
    config = call.keywords.pop("config", None)
    return call.keywords | (vars(config) if config else {})


def parse_config(*words: str) -> FinetuneConfig:
    """The config of `metamon-ext finetune`."""
    return FinetuneConfig(**settings_of("finetune", *words))
