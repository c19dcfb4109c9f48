"""`metamon-ext quickstart`."""

from __future__ import annotations

from metamon_ext.cli.flags import Functions, Resume, require_run
from metamon_ext.workflows.quickstart import QuickstartConfig, quickstart


def quickstart_command(config: QuickstartConfig, resume: Resume = False) -> int:
    """Run what is missing of the complete loop."""
    if resume:
        require_run(config.output_dir / "selfplay")
    quickstart(config)
    return 0


FUNCTIONS: Functions = {"quickstart": quickstart_command}
