"""What several test modules share: the simulator, and where the repository is."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def repository() -> Path:
    return ROOT
