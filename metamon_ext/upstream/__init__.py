"""Everything that is about Metamon or AMAGO. Many modules here import neither."""

import sys
import warnings

# What these print at import, in every process, is about packages that Metamon pins.
sys.modules.setdefault("gym_notices", None)  # type: ignore[arg-type]  # gym then has no notices
warnings.filterwarnings("ignore", message=".*Missing FlashAttention")
