"""Kills a run at every single one of its file operations and updates, and resumes it.

A script, because it forks: `python -m tests.kill_everywhere DIRECTORY EVERY`. `EVERY` is the
distance between the moments that are tried.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cnnspec
from cnnspec.train import curves, train
from cnnspec.train.updates import UpdatesOf
from tests.runs import SPEC, dataset, lasting

OPERATIONS = ("open", "fsync", "replace", "link", "unlink")


def run(directory: Path, *, resume: bool) -> None:
    """The run that is killed, and the same one resumed."""
    train(
        cnnspec.load(SPEC), "numpy", dataset(), rundir=directory, resume=resume, checkpoint_every=2
    )


def counted(limit: int) -> list[int]:
    """Let the process die before its operation of this number; the list counts them."""
    count = [0]

    def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if count[0] == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            count[0] += 1
            return function(*args, **more)

        return call

    for name in OPERATIONS:
        setattr(os, name, mortal(getattr(os, name)))
    setattr(UpdatesOf, "update", mortal(UpdatesOf.update))  # noqa: B010 - as the others
    return count


def forked(work: Callable[[], None]) -> int:
    """Run in a copy of this process; its wait status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitpid(child, 0)[1]


def main(directory: Path, every: int) -> None:
    """Print how many moments were tried."""
    curves.picture = lambda *_: b"not drawn, for speed"
    whole = directory / "whole"
    run(whole, resume=False)
    expected = lasting(whole)
    tried = 0
    for moment in range(0, 100_000, every):
        killed = directory / str(moment)

        def die(limit: int = moment, where: Path = killed) -> None:
            counted(limit)
            run(where, resume=False)

        status = forked(die)
        if status == 0:  # the run has fewer operations than that
            break
        assert os.WIFSIGNALED(status), f"moment {moment}: {status}"
        assert os.WTERMSIG(status) == signal.SIGKILL, f"moment {moment}: {status}"

        def go_on(where: Path = killed) -> None:
            run(where, resume=True)

        assert forked(go_on) == 0, f"moment {moment}"
        found = lasting(killed)
        wrong = [name for name in expected if found[name] != expected[name]]
        assert not wrong, f"killed at moment {moment}: {wrong} differ"
        left = [p.name for p in killed.rglob("*.tmp")]
        assert not left, f"killed at moment {moment}: {left} are left"
        tried += 1
    print(tried)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
