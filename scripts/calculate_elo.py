#!/usr/bin/env python
"""Rate a tournament's players: `metamon-ext calculate_elo`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["calculate_elo", *sys.argv[1:]]))
