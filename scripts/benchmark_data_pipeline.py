#!/usr/bin/env python
"""Measure how fast data reach a learner: `metamon-ext benchmark data`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", "data", *sys.argv[1:]]))
