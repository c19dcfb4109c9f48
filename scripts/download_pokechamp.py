#!/usr/bin/env python
"""Human battles from the Hugging Face hub: `metamon-ext download_pokechamp`."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(["download_pokechamp", *sys.argv[1:]]))
