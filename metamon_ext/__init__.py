"""Offline-RL extensions for Metamon and AMAGO. Importing this package loads neither."""

from pathlib import Path

__version__ = "0.1.0"

GIN_CONFIGS = Path(__file__).with_name("gin_configs").resolve()
"""All gin files. In a clone this is a link to the folder `gin_configs` at its top."""
