#!/usr/bin/env python
"""Check this machine and what is installed: `metamon-ext doctor` under the name the field uses."""

import argparse
import sys

from metamon_ext import doctor
from metamon_ext.doctor.command import add_arguments

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=doctor.__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    sys.exit(args.run(args))
