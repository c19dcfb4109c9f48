"""`metamon-ext gin`, `run`, `finetune` and `adopt`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from metamon_ext.cli.flags import Functions, Positional
from metamon_ext.errors import UserError
from metamon_ext.upstream.catalog import require_metamon
from metamon_ext.upstream.checkpoints import run_at
from metamon_ext.upstream.commands import (
    is_main,
    run_finetuning,
    run_module,
    what_next,
)
from metamon_ext.upstream.finetune_config import FinetuneConfig
from metamon_ext.upstream.gin_files import describe, find_gin_file, gin_files


def gin(name: Positional[str | None] = None) -> int:
    """Print a path alone, for `$(metamon-ext gin NAME)`.

    Args:
        name: one of our gin files; without it they are listed
    """
    if name is not None:
        print(find_gin_file(name))
        return 0
    for path in gin_files():
        print(f"{path.stem:<28}{describe(path)}")
    return 0


def run(words: Positional[tuple[str, ...]] = ()) -> int:
    """Run a module as `python -m MODULE ARGUMENTS...` would.

    Args:
        words: -m MODULE ARGUMENTS...
    """
    if not words:
        raise UserError("Missing module. For example: metamon-ext run -m metamon.rl.train --help")
    module, *arguments = words
    run_module(module, arguments)
    return 0


def finetune(config: FinetuneConfig) -> int:
    """Exit code 0 when the last epoch is trained and saved."""
    plan = run_finetuning(config)
    if is_main():
        print(what_next(plan))
    return 0


@dataclass(frozen=True)
class Parts:
    """What the model was built from; default: that of the base model."""

    model_gin_config: str | None = None
    train_gin_config: str | None = None
    reward_function: str | None = None
    observation_space: str | None = None
    action_space: str | None = None
    tokenizer: str | None = None
    battle_backend: str | None = None


def adopt(run_folder: Positional[str], parts: Parts, base_model: str | None = None) -> int:
    """Exit code 0 when every checkpoint of the run has its record.

    Args:
        run_folder: the folder of the run
        base_model: the model that the run was finetuned from
    """
    require_metamon()
    run = run_at(run_folder)
    if run is None:
        raise UserError(f"{run_folder} is not the folder of a run: it has no ckpts/.")
    from metamon_ext.upstream.adopt import adopt as record

    epochs = record(run, base_model, asdict(parts))
    print(f"Recorded: {', '.join(f'{run.name}_Epoch{epoch}' for epoch in epochs)}")
    return 0


FUNCTIONS: Functions = {"gin": gin, "run": run, "finetune": finetune, "adopt": adopt}
