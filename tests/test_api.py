"""`import metamon_ext as mx`: light, complete, and documented."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import metamon_ext as mx


@pytest.mark.parametrize(
    "name", [name for name in mx.__all__ if name not in ("GIN_CONFIGS", "__version__")]
)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(mx, name)
    assert inspect.getdoc(found) and found.__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'tournamnt'"):
        mx.tournamnt  # noqa: B018


@pytest.mark.parametrize("used", ["", "mx.bradley_terry; mx.TournamentConfig; mx.read_trajectory"])
def test_torch_is_loaded_by_nothing_that_does_not_need_it(used: str, repository: Path) -> None:
    code = f"import sys, metamon_ext as mx; {used}\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "metamon", "amago"} & set(loaded)
    assert used or not {"numpy", "scipy", "rich"} & set(loaded)
