"""Run npm, and say in one line why it failed and what to do."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from metamon_ext.errors import RunStopped

CERTIFICATE = "set NODE_EXTRA_CA_CERTS to your certificate authority's .pem file"
FIXES = {
    r"E40[0-9]": "check the registry: npm config get registry",
    r".*(CERT|SIGNATURE).*": CERTIFICATE,
    r"EACCES|EPERM|EROFS": "set npm_config_cache and METAMON_EXT_CACHE_DIR to folders that this "
    "user can write",
    r"ENOSPC|EDQUOT": "make room, then run it again",
    r"EINTEGRITY": "remove the damaged files with npm cache clean --force",
}
"""npm's error codes -> what to do; any other code is of the network."""
NETWORK = (
    "check the network and the proxy (HTTPS_PROXY, NO_PROXY), name another registry (npm config "
    "set registry URL), or copy {folder} from a machine that has it"
)


def run_npm(npm: str, node: Path, arguments: Sequence[str], folder: Path) -> None:
    """Run `npm ARGUMENTS` with this Node; `folder` is what comes of it.

    Raises RunStopped with npm's reason and what to do about it.
    """
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory() as temporary:
        env = os.environ | {"PATH": path}
        home = os.path.expanduser("~")
        if home == "~":  # not known, and npm does not start without one
            env["HOME"] = temporary
        elif not os.access(home, os.W_OK):
            env.setdefault("npm_config_cache", temporary)
        answer = subprocess.run(
            [npm, *arguments], env=env, capture_output=True, text=True, errors="replace"
        )
    if answer.returncode:
        raise RunStopped(explain(answer.stderr, folder))


def explain(said: str, folder: Path) -> str:
    """One line on npm's standard error: its reason, and what to do."""
    lines = [re.sub(r"^npm (error|ERR!)\s*", "", line) for line in said.splitlines()]
    code = next((line.split()[1] for line in lines if re.match(r"code \S", line)), "")
    others = [line for line in lines if line and not re.match(r"(code|syscall|errno|path) ", line)]
    reason = next((line for line in others if "reason: " in line), "".join(others[:1]))
    if code and code not in reason:
        reason = f"{code}, {reason}"
    fix = next((fix for codes, fix in FIXES.items() if re.fullmatch(codes, code)), NETWORK)
    return f"npm failed ({reason or 'no message'}): {fix.format(folder=folder)}"
