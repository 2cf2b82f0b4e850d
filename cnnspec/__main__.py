"""`python -m cnnspec`, and the `cnnspec` command."""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command that the process was started with; returns its exit status."""
    # Importing makes many objects and no garbage, and looking for some takes a twentieth of a
    # `validate`. Commands that do more than read a spec turn it on again.
    gc.disable()
    # Pydantic would read the metadata of every installed package to find plug-ins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from cnnspec.cli import main as run

        return run()
    except KeyboardInterrupt:  # while importing; later ones are the command's own matter
        return 130


if __name__ == "__main__":
    sys.exit(main())
