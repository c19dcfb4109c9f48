#!/usr/bin/env python
"""Raw replays to trajectories with Metamon's parser: `metamon-ext parse_replays`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["parse_replays", *sys.argv[1:]]))
