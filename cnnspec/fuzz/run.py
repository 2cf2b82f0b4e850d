"""Networks over several processes, and what becomes of those that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from cnnspec.check.api import require
from cnnspec.check.engines import Child, EngineFailed
from cnnspec.diagnostics import SetupError, UserError
from cnnspec.fuzz import known
from cnnspec.fuzz.generate import network, ops
from cnnspec.fuzz.options import FOUND, Case, FuzzOptions, FuzzReport, Verdict, Way
from cnnspec.fuzz.shrink import shrink

START = 600.0
"""Seconds that the frameworks may take to be imported."""


def fuzz(
    options: FuzzOptions,
    *,
    tell: Callable[[FuzzReport], object] = lambda _: None,
    found: Callable[[Case], object] = lambda _: None,
) -> FuzzReport:
    """Check random networks, and shrink those that something is wrong with.

    Args:
        options: what to do.
        tell: is told how far it is, after each network.
        found: is told each case when it has been shrunk.

    Returns:
        What was found; with Ctrl-C what was found until then.

    Raises:
        SetupError: a back end is missing, an op unknown.
    """
    ops(options.ops)
    require(options.checked())
    return _Run(options, tell, found).run()


class _Run:
    def __init__(
        self,
        options: FuzzOptions,
        tell: Callable[[FuzzReport], object],
        found: Callable[[Case], object],
    ) -> None:
        self.options = options
        self.report = FuzzReport(options)
        self._tell, self._found = tell, found
        self._lock = threading.Lock()
        self._next = 0
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._fault: BaseException | None = None
        self._ways: dict[Way, int] = {}

    def run(self) -> FuzzReport:
        """All of it."""
        threads: list[threading.Thread] = []
        with ExitStack() as stack:
            jobs = [_Job(number, self.options) for number in range(self.options.jobs)]
            for job in jobs:
                stack.callback(job.close)
            try:
                self._start(jobs)
                threads = [
                    threading.Thread(target=self._work, args=(job,), daemon=True) for job in jobs
                ]
                self._began = time.monotonic()
                for thread in threads:
                    thread.start()
                while alive := [thread for thread in threads if thread.is_alive()]:
                    alive[0].join(0.1)
                    self._tick()
            except KeyboardInterrupt:
                self._stop.set()
                self.report.interrupted = True
        for thread in threads:
            thread.join()
        if self._fault is not None:
            raise self._fault
        self.report.cases.sort(key=lambda case: case.index)
        return self.report

    def _tick(self) -> None:
        """Say how far it is; only the main thread does."""
        with self._lock:
            self.report.seconds = time.monotonic() - self._began
            self._tell(self.report)

    def _start(self, jobs: list[_Job]) -> None:
        """Import the frameworks; what is missing is told before anything else."""
        for future in [job.child.submit("start", options=self.options) for job in jobs]:
            try:
                verdict: Verdict = future.result()
            except EngineFailed as fault:
                raise SetupError(fault.diagnostic()) from None
            if verdict.outcome == "setup":
                raise SetupError(verdict.diagnostics)

    def _take(self) -> int | None:
        """The number of the next network; None where it is over."""
        examples, seconds = self.options.examples, self.options.seconds
        with self._lock:
            over = seconds is not None and time.monotonic() - self._began >= seconds
            if self._stop.is_set() or over or (examples is not None and self._next >= examples):
                return None
            self._next += 1
            return self._next - 1

    def _work(self, job: _Job) -> None:
        try:
            while (index := self._take()) is not None:
                text, verdict = job.look(index)
                # Ctrl-C ends the processes as well, perhaps before it has come to this one.
                if self._stop.wait(0.5 if verdict.outcome == "crash" else 0):
                    return
                self._note(job, index, text, verdict)
        except (UserError, Exception) as fault:  # the main thread raises it
            if not self._stop.is_set():
                self._fault = fault
                self._stop.set()

    def _note(self, job: _Job, index: int, text: str, verdict: Verdict) -> None:
        if verdict.outcome == "setup":
            raise SetupError(verdict.diagnostics)
        fault = known.match(verdict, self.options)
        with self._lock:
            self.report.counts["known" if fault else verdict.outcome] += 1
            self.report.nodes += verdict.nodes
            if fault:
                self.report.known[fault.id] += 1
                return
            if verdict.outcome not in FOUND:
                return
            assert verdict.way is not None
            if verdict.way in self._ways:
                self.report.alike[self._ways[verdict.way]] += 1
                return
            self._ways[verdict.way] = index
        small = shrink(text, verdict, job.judge)
        case = Case(index, small.text, text, small.verdict, checks=small.checks)
        if self._stop.is_set():  # what a process says that is being ended means nothing
            case = Case(index, text, text, verdict)
        fault = known.match(case.verdict, self.options)
        with self._lock:
            if fault:  # what hid it before is gone
                self.report.counts[verdict.outcome] -= 1
                self.report.counts["known"] += 1
                self.report.known[fault.id] += 1 + self.report.alike.pop(index, 0)
                return
            self.report.cases.append(case)
            self._found(case)


class _Job:
    """A process that looks at one network at a time, and lives again where one has killed it."""

    def __init__(self, number: int, options: FuzzOptions) -> None:
        self.options = options
        self.child = Child(f"job {number + 1}", timeout=START, module="cnnspec.fuzz.worker")
        self._lock = threading.Lock()
        self._closed = False

    def look(self, index: int) -> tuple[str, Verdict]:
        """Draw a network and check it."""
        try:
            text, verdict = self._ask("network", index=index)
        except EngineFailed as fault:
            return network(self.options, index), self._died(fault)
        return text, verdict

    def judge(self, text: str) -> Verdict:
        """Check a network."""
        try:
            found: Verdict = self._ask("judge", text=text)
        except EngineFailed as fault:
            return self._died(fault)
        return found

    def _ask(self, command: str, **arguments: Any) -> Any:
        future = self.child.submit(command, options=self.options, **arguments)
        self.child.timeout = self.options.timeout
        return future.result()

    def _died(self, fault: EngineFailed) -> Verdict:
        """The verdict on a network that has ended the process, or taken too long."""
        with self._lock:
            if not self._closed:
                self.child.timeout = START  # the next one imports the frameworks again
                self.child.revive()
        message = "\n".join(part for part in (fault.message, fault.output) if part)
        return Verdict("crash", Way("crash", fault.message), message)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._closed = True
        self.child.close()
