"""`python -m cnnspec`, and the `cnnspec` command."""

import sys

from cnnspec.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
