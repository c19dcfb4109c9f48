#!/usr/bin/env python
"""Play a tournament: `metamon-ext self_play_tournament`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["self_play_tournament", *sys.argv[1:]]))
