"""`metamon-ext quickstart`."""

from __future__ import annotations

from metamon_ext.cli.flags import Functions, Resume
from metamon_ext.errors import UserError
from metamon_ext.workflows.quickstart import QuickstartConfig, quickstart


def quickstart_command(config: QuickstartConfig, resume: Resume = False) -> int:
    """Run what is missing of the complete loop."""
    if resume and not (config.output_dir / "selfplay").is_dir():
        raise UserError(f"there is no run to resume in {config.output_dir}: leave --resume out")
    quickstart(config)
    return 0


FUNCTIONS: Functions = {"quickstart": quickstart_command}
