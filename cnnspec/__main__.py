"""`python -m cnnspec`, and the `cnnspec` command."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import NoReturn

__all__ = ["main"]

LOADER = "pydantic.plugin._loader"


def main() -> int:
    """Run the command that the process was started with; returns its exit status."""
    # Importing makes many objects and no garbage, and looking for some takes a twentieth of a
    # `validate`. Commands that do more than read a spec turn it on again.
    gc.disable()
    _without_plugins_of_pydantic()
    try:
        from cnnspec.cli import main as run

        status = run()
    except KeyboardInterrupt:  # while importing; later ones are the command's own matter
        return 130
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _leave(status)
    return status


def _leave(status: int) -> NoReturn:
    """End one of torchrun's processes, all but the taking down of the interpreter.

    Threads of PyTorch that pass messages may want the interpreter once more when it is no longer
    there, which aborts a process whose work is done (pytorch/pytorch#179291).
    """
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):  # whoever read them may have gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


class _Loader(ModuleType):
    """Stands for pydantic's module that looks for plug-ins; whatever else it has is its own."""

    def get_plugins(self) -> tuple[()]:
        """There are none."""
        return ()

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(LOADER, None)
        return getattr(import_module(LOADER), name)


def _without_plugins_of_pydantic() -> None:
    """Keep pydantic from looking for plug-ins in the metadata of every installed package.

    It does not look with this variable either, but imports a tenth of what `validate` takes to be
    able to.
    """
    if os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__") == "__all__":
        sys.modules.setdefault(LOADER, _Loader(LOADER))


if __name__ == "__main__":
    sys.exit(main())
