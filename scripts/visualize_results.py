#!/usr/bin/env python
"""Draw a tournament's results: `metamon-ext visualize_results`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["visualize_results", *sys.argv[1:]]))
