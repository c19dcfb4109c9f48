"""Tests that need the real Metamon. `METAMON_PYTHON` names the interpreter that has it."""

import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("METAMON_CACHE_DIR", tempfile.mkdtemp(prefix="metamon-cache-"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("metamon", reason="Metamon is not installed in this environment")


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Battles, and a cache of Metamon's that holds a Minikazam that was never trained."""
    from tests.upstream.finetuning import make_workplace

    return make_workplace(tmp_path_factory.mktemp("workplace"))


@pytest.fixture
def here(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory in which Metamon's cache is that of the workplace, and nothing
    is compiled, which is quicker for a few steps."""
    import gin
    import torch

    monkeypatch.setenv("METAMON_CACHE_DIR", str(workplace / "cache"))
    monkeypatch.chdir(tmp_path)
    gin.clear_config()
    with torch.compiler.set_stance("force_eager"):
        yield tmp_path
    gin.clear_config()


@pytest.fixture
def finetune(workplace: Path, here: Path) -> Callable[..., int]:
    """`metamon-ext finetune` in this process, from the working directory, with `key=value` flags.

    Returns its exit code."""
    import gin

    from metamon_ext.cli import main
    from tests.upstream.finetuning import flags

    def call(run_name: str, **more: object) -> int:
        gin.clear_config()
        asked = {"save_dir": "runs"} | more
        return main(["finetune", *flags(workplace, run_name, **asked)])

    return call


@pytest.fixture
def eager() -> Iterator[None]:
    """Nothing is compiled, and no gin setting comes or stays."""
    import gin
    import torch

    gin.clear_config()
    with torch.compiler.set_stance("force_eager"):
        yield
    gin.clear_config()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A batch of recorded battles."""
    from tests.upstream.helpers import make_batch

    return make_batch(tmp_path_factory.mktemp("battles"))


@pytest.fixture
def batch(recorded: Any) -> Any:
    """A copy of the batch, to be changed."""
    return copy.deepcopy(recorded)
