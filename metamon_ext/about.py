"""What the package is, its version, and where its gin files are."""

from pathlib import Path

DESCRIPTION = (
    "Offline-RL extensions for Metamon and AMAGO: training, self-play, and honest measurement."
)

__version__ = "0.2.0"

GIN_CONFIGS = Path(__file__).with_name("gin_configs").resolve()
"""All gin files. In a clone this is a link to the folder `gin_configs` at its top."""
