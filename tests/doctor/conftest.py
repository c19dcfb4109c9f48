"""Environments for the doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from metamon_ext.doctor.environment import Environment
from tests.conftest import ROOT

Doctor = Callable[..., tuple[int, dict[str, dict[str, str]]]]
METAMON = {"metamon": "1.5.1", "amago": "3.1.2", "poke-env": "0.8.3.2", "torch": "2.13.0"}
FINETUNE = """
amago_dataset = create_offline_dataset(
    obs_space=pretrained.observation_space,
    reward_function={reward},
)
"""


def write(file: Path, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def install(site: Path, distribution: str, version: str) -> None:
    """The metadata that pip leaves, without a package."""
    folder = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    write(folder / "METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")


@pytest.fixture
def metamon(tmp_path: Path) -> Callable[..., Environment]:
    """Metamon's environment as it should be, with changes to it."""
    clone, fork, amago = (tmp_path / name for name in ("metamon", "poke-env", "amago"))
    write(clone / "metamon" / "tokenizer" / "v1.json")
    write(clone / "metamon" / "rl" / "configs" / "models" / "small.gin")
    write(clone / "metamon" / "rl" / "finetune_from_hf.py", FINETUNE.format(reward="chosen"))
    write(fork / "poke_env" / "environment" / "__init__.py")
    write(amago / "amago" / "agent.py")
    packages = {
        "metamon": clone / "metamon",
        "amago": amago / "amago",
        "poke_env": fork / "poke_env",
    }

    def make(
        versions: Mapping[str, str | None] = {},
        variables: Mapping[str, str] = {},
        without: Iterable[str] = (),
    ) -> Environment:
        kept = {name: v for name, v in (METAMON | dict(versions)).items() if v is not None}
        found = {name: folder for name, folder in packages.items() if name not in without}
        cache = {"METAMON_CACHE_DIR": str(tmp_path / "cache")}
        return Environment(kept, found, {}, cache | dict(variables))

    return make


def lite(**versions: str) -> Environment:
    """An environment without Metamon."""
    return Environment({"torch": "2.13.0", "poke-env": "0.16.1"} | versions, {}, {}, {})


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Run the script in a process of its own: its exit code, and its checks by name."""

    def call(*args: str, cwd: Path = tmp_path, **variables: str) -> Any:
        path = os.pathsep.join(filter(None, [variables.pop("site", ""), str(ROOT)]))
        python = variables.pop("python", sys.executable)
        answer = subprocess.run(
            [python, str(ROOT / "scripts" / "validate_setup.py"), "--json", *args],
            env=os.environ | {"PYTHONPATH": path} | variables,
            cwd=cwd,
            capture_output=True,
            text=True,
        )
        report = json.loads(answer.stdout)
        assert report["ok"] == (answer.returncode == 0)
        return answer.returncode, {check["name"]: check for check in report["checks"]}

    return call
