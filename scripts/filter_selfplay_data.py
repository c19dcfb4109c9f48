#!/usr/bin/env python
"""Set bad battles aside and link the good ones: `metamon-ext filter_selfplay_data`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["filter_selfplay_data", *sys.argv[1:]]))
