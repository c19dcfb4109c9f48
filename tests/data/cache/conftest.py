"""The source of the caches in these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.states import write_battle


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty battles of 1 to 20 decisions, whose folders have long been as they are."""
    for number in range(20):
        write_battle(tmp_path / "data", number)
    from tests.data.cache.test_cache import age

    age(tmp_path / "data")
    return tmp_path / "data"
