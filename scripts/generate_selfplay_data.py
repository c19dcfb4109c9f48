#!/usr/bin/env python
"""Generate battles to learn from: `metamon-ext generate_selfplay_data`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["generate_selfplay_data", *sys.argv[1:]]))
