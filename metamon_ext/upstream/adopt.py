"""`metamon-ext adopt`: record how a run was trained that `metamon-ext finetune` did not train."""

from __future__ import annotations

import shlex
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from metamon_ext.errors import UserError, cannot_write
from metamon_ext.files import atomic_write
from metamon_ext.upstream import catalog
from metamon_ext.upstream.checkpoints import cached_weights, find_checkpoint
from metamon_ext.upstream.gin_files import (
    find_model_file,
    find_training_file,
    read_gin_file,
)
from metamon_ext.upstream.preflight import gin_text, refuse_unknown_reward, released_model
from metamon_ext.upstream.runs import GIN_FILES, Run

OLD_RECORD = "metamon_ext.json"
"""In the folders of runs of earlier versions: the settings of the last start."""


def adopt(run: Run, base_model: str | None, given: Mapping[str, str | None]) -> list[int]:
    """Record how all checkpoints of a run were trained, after a check that their weights fit.

    Args:
        run: the run.
        base_model: what it was finetuned from; None for a run from scratch.
        given: the names in `catalog.PARTS` that differ from the base model's, or all of them.

    Returns:
        The epochs of the checkpoints.

    Raises UserError for a name that is not known, a part that is missing, and weights that do not
    fit.
    """
    epochs = run.weights_found
    if not epochs:
        raise UserError(
            f"{run.folder} has no checkpoints (ckpts/policy_weights/policy_epoch_*.pt)."
        )
    if run.is_ours:
        raise UserError(f"{run.folder} is a run of metamon-ext finetune, which keeps its records.")
    record = describe(base_model, given)
    _refuse_misfit(run, record, epochs)
    try:
        for part, name in GIN_FILES.items():
            with atomic_write(run.folder / name) as temporary:
                temporary.write_text(record["gin"][part], encoding="utf-8")
        for epoch in epochs:
            run.write_record(epoch, record)
    except OSError as error:
        raise cannot_write(run.folder, error) from None
    return epochs


def describe(base_model: str | None, given: Mapping[str, str | None]) -> dict[str, Any]:
    """The record of a run with these names. Raises UserError for one that is not known."""
    parts: dict[str, Any] = dict.fromkeys(catalog.PARTS) | {"battle_backend": "metamon"}
    texts: dict[str, str] = {}
    released = None
    if base_model is not None:
        base = find_checkpoint(base_model)
        parts, released = dict(base.parts), released_model(base)
        texts = {part: gin_text(base, part) for part in GIN_FILES}
    if name := given.get("reward_function"):
        refuse_unknown_reward(name)
    for part, find in zip(GIN_FILES, (find_model_file, find_training_file), strict=True):
        if name := given.get(part):
            texts[part] = read_gin_file(find(name))
    parts |= {part: name for part, name in given.items() if name is not None}
    if missing := [f"--{part}" for part, name in parts.items() if name is None]:
        raise UserError(f"Without --base_model these are needed: {' '.join(missing)}.")
    return {
        "base_model": base_model,
        "released_model": released,
        **parts,
        "gin": texts,
        "adopted": True,
    }


def _refuse_misfit(run: Run, record: dict[str, Any], epochs: list[int]) -> None:
    """Raise UserError if the weights do not fit the network that the record describes."""
    from metamon.rl.pretrained import PretrainedModel

    from metamon_ext.upstream.models import load_weights, model_arguments
    from metamon_ext.upstream.policy import fresh_agent
    from metamon_ext.upstream.register import register_spaces

    register_spaces()
    with tempfile.TemporaryDirectory(prefix="metamon-ext-") as folder:
        files = {part: Path(folder, name) for part, name in GIN_FILES.items()}
        for part, file in files.items():
            file.write_text(record["gin"][part], encoding="utf-8")
        paths = {part: str(file) for part, file in files.items()}
        arguments = model_arguments(record | paths, str(run.folder))
        model = PretrainedModel(model_name=run.name, hf_cache_dir=folder, **arguments)
        agent = fresh_agent(model, Path(folder, "x", "x", "x"), f"the network of {run.name}").policy
        for epoch in epochs:
            load_weights(agent, run.weights(epoch), f"checkpoint {epoch} of {run.name}")


def guess_flags(run: Run) -> str:
    """The flags with which to adopt a run, as far as its files say; capitals for the rest."""
    flags = _old_record(run) or _guess(run)
    return " ".join(f"--{name} {shlex.quote(value)}" for name, value in flags.items() if value)


def _old_record(run: Run) -> dict[str, str]:
    try:
        record = dict(orjson.loads((run.folder / OLD_RECORD).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
    return {part: record[part] for part in ("base_model", *catalog.PARTS) if record.get(part)}


def _guess(run: Run) -> dict[str, str]:
    """From the weights: Metamon writes nothing else down. The base model is one whose weights are
    in Metamon's cache and have the same sizes. Metamon's own finetuning always trains on the base
    model's reward."""
    sizes = storage_sizes(run.weights(run.weights_found[-1]))
    bases = []
    for model in catalog.released_models().values():
        files = cached_weights(model).values()
        theirs = next((storage_sizes(file) for file in files), Counter())
        if theirs and theirs <= sizes:  # more, where a reference policy was added
            bases.append(model)
    base = bases[0] if len(bases) == 1 else None
    return {
        "base_model": base.name if base else "MODEL",
        "train_gin_config": "GIN",
        "reward_function": base.parts["reward_function"] if base else "REWARD",
    }


def storage_sizes(weights: Path) -> Counter[int]:
    """How many tensors of which size a file of `torch.save` has; none if it is damaged."""
    try:
        with zipfile.ZipFile(weights) as archive:
            members = [one for one in archive.infolist() if "/data/" in one.filename]
            return Counter(one.file_size for one in members)
    except (OSError, zipfile.BadZipFile):
        return Counter()
