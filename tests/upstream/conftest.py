"""Tests that need the real Metamon. `METAMON_PYTHON` names the interpreter that has it."""

import os
import tempfile

import pytest

os.environ.setdefault("METAMON_CACHE_DIR", tempfile.mkdtemp(prefix="metamon-cache-"))
pytest.importorskip("metamon", reason="Metamon is not installed in this environment")
