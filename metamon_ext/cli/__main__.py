"""`python -m metamon_ext.cli` is `metamon-ext` too."""

import sys

from metamon_ext.cli import main

if __name__ == "__main__":  # worker processes import this module too
    sys.exit(main())
