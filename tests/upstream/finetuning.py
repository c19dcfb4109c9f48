"""What the tests of finetuning share: a place to work at, and Metamon's commands in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gin
import torch
from metamon.rl.metamon_to_amago import make_placeholder_experiment
from metamon.rl.pretrained import Minikazam

from tests.conftest import ROOT
from tests.upstream.helpers import copy_battles


def make_workplace(folder: Path) -> Path:
    """Battles, and a cache of Metamon's that holds a Minikazam that was never trained."""
    copy_battles(folder)
    hub = folder / "cache" / "pretrained_models" / "models--jakegrigsby--metamon"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("0" * 40)
    weights = hub / "snapshots" / ("0" * 40) / "minikazam" / "ckpts" / "policy_weights"
    weights.mkdir(parents=True)
    gin.clear_config()
    model = Minikazam()
    gin.parse_config_files_and_bindings(
        [model.model_gin_config_path, model.train_gin_config_path], [], finalize_config=False
    )
    gin.bind_parameter("MetamonPerceiverTstepEncoder.tokenizer", model.tokenizer)
    experiment = make_placeholder_experiment(
        str(folder), "fresh", False, model.observation_space, model.action_space
    )
    experiment.verbose = False
    experiment.start()
    torch.save(experiment.policy.state_dict(), weights / "policy_epoch_40.pt")
    return folder


def base_weights(workplace: Path) -> dict[str, torch.Tensor]:
    """Those of the Minikazam."""
    (path,) = (workplace / "cache").rglob("policy_epoch_40.pt")
    return torch.load(path, weights_only=True)


def flags(workplace: Path, run_name: str, **more: Any) -> list[str]:
    """Of a finetuning run of two epochs of one step. None leaves one out, True has no value, and a
    list has several."""
    settings = {
        "finetune_from_model": "Minikazam",
        "run_name": run_name,
        "save_dir": workplace / "runs",
        "custom_replay_dir": workplace / "battles",
        "replay_weight": 0,
        "formats": "gen1ou",
        "epochs": 2,
        "steps_per_epoch": 1,
        "batch_size_per_gpu": 2,
        "dloader_workers": 0,
        "eval_gens": [],
    } | more
    words: list[str] = []
    for key, value in settings.items():
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            words += [f"--{key}", *(str(one) for one in values if one is not True)]
    return words


def run(
    workplace: Path, *command: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """In another process, without the internet; uncompiled, which is quicker for so few steps."""
    environment = os.environ | {
        "METAMON_CACHE_DIR": str(workplace / "cache"),
        "HF_HUB_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd or workplace,
        env=environment,
        capture_output=True,
        text=True,
    )
