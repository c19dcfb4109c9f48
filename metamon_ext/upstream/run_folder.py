"""The folder of a finetuning run: one process at a time, one set of settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from metamon_ext.errors import UserError, cannot_write
from metamon_ext.files import atomic_write, lock_folder, write_json
from metamon_ext.upstream.gin_files import same_settings
from metamon_ext.upstream.preflight import Plan
from metamon_ext.upstream.runs import GIN_FILES, SETTINGS, Run

PARTIAL = ".partial"
"""In training_states: the state that is being written."""
LOG = "log.txt"
"""In a run's folder: what Metamon and AMAGO print."""
OURS = ("ckpts", "wandb_logs", SETTINGS, LOG, *GIN_FILES.values())
"""All that a run leaves in its folder."""
NAMED = 3
"""How many differences a refusal names."""
NOT_COMPARED = frozenset(("path", "versions", "gin", *GIN_FILES))
"""Where data are, and which versions Metamon downloaded: the fingerprints say what they are. Gin
files are compared by their text."""


@contextmanager
def open_run(plan: Plan) -> Iterator[None]:
    """Lock the folder of a run, check that it is this run's, and clean up after a kill.

    Raises UserError where another process is at work on it or it was begun with other settings,
    unless the plan overwrites it.
    """
    run = plan.run
    with lock_folder(plan.config.folder):
        if plan.config.overwrite:
            _remove(plan.config.folder)
        refuse_other_settings(run, plan.settings)
        if there := run.settings():  # the same but for comments and old names
            plan.settings["gin"] = there["gin"]
        try:
            _write_settings(run, plan.settings)
            remove_partial(run)
        except OSError as error:
            raise cannot_write(plan.config.folder, error) from None
        yield


def refuse_other_settings(run: Run, settings: dict[str, Any]) -> None:
    """Raise UserError if the folder holds a run that was begun with other settings."""
    fix = "Choose another --run_name, or --overwrite to remove the old run."
    there = run.settings()
    if there is None:
        if run.weights_found:
            raise UserError(
                f"{run.folder} holds checkpoints that metamon-ext finetune did not write. {fix}"
            )
        return
    if run.epochs and latest_epoch(run) is None:
        raise UserError(
            f"{run.folder} cannot be resumed: {run.state(run.epochs[-1])} is missing. {fix}"
        )
    bases = [Path(one["base_model"]).name for one in (there, settings)]
    if bases[0] == bases[1]:  # a run may have moved; the fingerprint says whether it is the same
        there = there | {"base_model": settings["base_model"]}
    differences = [*_gin_differences(there, settings), *_differences(there, settings)]
    if differences:
        more = f"; and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
        raise UserError(
            f"{run.folder} was begun with other settings: "
            f"{'; '.join(differences[:NAMED])}{more}. {fix}"
        )


def _gin_differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """Which gin files differ in their text, and how they are called."""
    for part in GIN_FILES:
        if not same_settings(there["gin"][part], here["gin"][part]):
            old, new = Path(there[part]).stem, Path(here[part]).stem
            same = f"the text of {part} {new} has changed"
            yield same if old == new else f"{part} is {old} there and {new} here"


def _differences(there: Any, here: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """What else two settings differ in, in words."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            if key not in NOT_COMPARED:
                yield from _differences(there.get(key), here.get(key), (*path, key))
    elif there != here and path[-1] == "base_sha256":
        yield "the weights of the base model have changed"
    elif there != here and path[-1] in ("sha256", "crc32"):
        yield f"the files of the {path[-2]} have changed"
    elif there != here:
        yield f"{'.'.join(path)} is {_short(there)} there and {_short(here)} here"


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    return str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}..."


def _write_settings(run: Run, settings: dict[str, Any]) -> None:
    for part, name in GIN_FILES.items():
        with atomic_write(run.folder / name) as temporary:
            temporary.write_text(settings["gin"][part], encoding="utf-8")
    if run.settings() is None:
        write_json(run.folder / SETTINGS, settings)


def remove_partial(run: Run) -> None:
    """Remove what a killed process left half-written, and states that are not the latest."""
    complete = run.epochs
    for path in [*run.weights_folder.glob(".*.tmp"), *run.folder.glob(".*.tmp")]:
        path.unlink()
    for epoch in set(run.weights_found) - set(complete):
        run.weights(epoch).unlink()
    keep = run.state(complete[-1]) if complete else None
    for state in run.states_folder.glob("*"):
        if state != keep:
            shutil.rmtree(state)


def latest_epoch(run: Run) -> int | None:
    """The epoch after which a run can be resumed, None if it has to begin."""
    epochs = run.epochs
    return epochs[-1] if epochs and run.state(epochs[-1]).is_dir() else None


def _remove(folder: Path) -> None:
    for name in OURS:
        path = folder / name
        with suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
