#!/usr/bin/env python
"""Check this machine and what is installed: `metamon-ext doctor` under the name the field uses."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["doctor", *sys.argv[1:]]))
