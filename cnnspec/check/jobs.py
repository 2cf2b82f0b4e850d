"""Several networks at once, each in a process of its own with engines of its own.

Such a process also keeps a reference that dies of too little memory from taking the rest with it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack

from cnnspec import memory
from cnnspec.check import effort
from cnnspec.check.engines import Child, EngineFailed, engines
from cnnspec.check.files import Request, built_of, check_file
from cnnspec.check.options import SpecReport
from cnnspec.check.run import needed_bytes, needs_process
from cnnspec.check.worker import die_with, receive, send, widen
from cnnspec.diagnostics import UserError
from cnnspec.heap import give_back, keep_freed_memory
from cnnspec.passes.reduce import reduce

MOST_BYTES = 29 << 29
"""Memory that networks checked at the same time may need together: 14.5 GiB."""
FRAMEWORK_BYTES = 5 << 28
"""What a process and its engines take for themselves: 1.25 GiB."""


def in_jobs(files: Sequence[str], request: Request, count: int) -> Iterator[tuple[int, SpecReport]]:
    """Check files in several processes, the largest network first.

    Args:
        files: of the specs.
        request: how they are checked.
        count: number of processes, at least 1.

    Yields:
        The index of a file, and its report, as soon as it is there.
    """
    sizes = {index: _size(file, request) for index, file in enumerate(files)}
    waiting = sorted(sizes, key=lambda index: -sizes[index])
    most = min(MOST_BYTES, memory.available() or MOST_BYTES)
    running: dict[Future[SpecReport], tuple[int, Child]] = {}
    with ExitStack() as stack:
        free = []
        for number in range(count):
            child = Child(
                f"job {number + 1}", timeout=None, module="cnnspec.check.jobs", group=True
            )
            stack.callback(child.close)
            free.append(child)
        while waiting or running:
            used = sum(sizes[index] for index, _ in running.values())
            fitting = [i for i in waiting if not running or used + sizes[i] <= most]
            if free and fitting:
                index, child = fitting[0], free.pop()
                waiting.remove(index)
                future = child.submit("check", file=files[index], request=request)
                running[future] = index, child
                continue
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                index, child = running.pop(future)
                try:
                    report = future.result()
                    if running and _lacks_memory(report):  # which the others will give back
                        waiting.append(index)
                        sizes[index] = most
                    else:
                        yield index, report
                except EngineFailed as fault:
                    report = SpecReport(files[index], "engine_failed")
                    report.diagnostics.append(fault.diagnostic())
                    child.revive()
                    yield index, report
                free.append(child)


def _lacks_memory(report: SpecReport) -> bool:
    return any(found.code == "not-enough-memory" for found in report.diagnostics)


def _size(file: str, request: Request) -> int:
    """About the bytes that a check of this file needs; what is no spec needs few."""
    try:
        graph = built_of(file, request).graph
    except UserError:  # the job will tell
        return FRAMEWORK_BYTES
    if request.options.reduce:
        graph = reduce(graph)
    batch = effort.batch_size(graph)
    return FRAMEWORK_BYTES + needed_bytes(graph, batch, request.options)


def main(parent: int) -> None:
    """Check one file after the other until the parent goes."""
    die_with(parent)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    widen(out, sys.stdin.buffer)
    keep_freed_memory()
    with ExitStack() as stack:
        made = None
        while True:
            try:
                _, arguments = receive(sys.stdin.buffer)
                request: Request = arguments["request"]
                if made is None:
                    made = stack.enter_context(
                        engines(
                            needs_process(request.options),
                            in_process=False,
                            timeout=request.options.timeout,
                        )
                    )
                try:
                    answer: tuple[str, object] = "ok", check_file(arguments["file"], request, made)
                except Exception:  # a bug of ours is reported for this file, and the others go on
                    answer = "fault", traceback.format_exc()
                send(out, answer)
                give_back()
            except (EOFError, BrokenPipeError, KeyboardInterrupt):
                return
