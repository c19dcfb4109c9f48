#!/usr/bin/env python
"""Add best responses to a population: `metamon-ext run_psro`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["run_psro", *sys.argv[1:]]))
