"""Engines: a back end's sessions in a child process of its own, or in this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from cnnspec.backends.base import Emitted
from cnnspec.backends.runtimes import runnable
from cnnspec.check.worker import Sessions, answer, receive, send, widen
from cnnspec.diagnostics import Diagnostic, UserError
from cnnspec.threads import ONE

TIMEOUT = 600.0
"""Seconds that an engine may take for one answer."""

DEFAULTS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # oneDNN keeps what it has freed, several times the weights, and has nothing for float64.
    "TF_ENABLE_ONEDNN_OPTS": "0",
    # Large arrays in large pages: the kernel takes longer to hand out a page than to fill it.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Variables of an engine's environment, where the user's own has no value."""


class EngineFailed(Exception):
    """An engine crashed, hung, ran out of memory, or raised; its last output is kept."""

    def __init__(self, name: str, message: str, output: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.output = output

    def diagnostic(self) -> Diagnostic:
        """The failure as a diagnostic."""
        notes = (self.output,) if self.output else ()
        return Diagnostic("engine-failed", f"{self.name}: {self.message}", notes=notes)


class Engine(Protocol):
    """Sessions of one back end, by dtype."""

    name: str

    def submit(self, command: str, **arguments: Any) -> Future[Any]:
        """Send a command; the future raises UserError or EngineFailed."""

    def revive(self) -> None:
        """Make it answer again, without its sessions, if it has died."""

    def close(self) -> None:
        """End it, whatever it is doing."""


class InProcess:
    """An engine in this process, for debugging: a crash takes everything with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sessions = Sessions()

    def submit(self, command: str, **arguments: Any) -> Future[Any]:
        """Run it now."""
        future: Future[Any] = Future()
        _settle(future, self.name, answer(self._sessions, command, arguments))
        return future

    def revive(self) -> None:
        """Nothing to do: this process is still here."""

    def close(self) -> None:
        """Close the sessions."""
        self._sessions.close()


class Child:
    """An engine in a child process; commands are answered in order.

    Args:
        name: of its back end.
        timeout: seconds that it may take for one answer; None for any time.
        module: what the process runs.
        environment: variables that it needs, whatever the user's own are.
        group: whether it has children of its own, which end with it.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout: float | None = TIMEOUT,
        module: str = "cnnspec.check.worker",
        environment: Mapping[str, str] | None = None,
        group: bool = False,
    ) -> None:
        self.name = name
        self.timeout = timeout
        self.module = module
        self.environment = environment or {}
        self.group = group
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"cnnspec-{name}")
        self._start()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the engine
        self._process = subprocess.Popen(  # noqa: S603 - it is a module of ours
            [sys.executable, "-c", f"from {self.module} import main; main({os.getpid()})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**DEFAULTS, **os.environ, **ONE, **self.environment},
            process_group=0 if self.group else None,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        widen(self._process.stdin, self._process.stdout)

    def revive(self) -> None:
        """Start a new process where the old one has died."""
        if self._process.poll() is not None:
            self._end()
            self._start()

    def submit(self, command: str, **arguments: Any) -> Future[Any]:
        """Queue a command."""
        return self._pool.submit(self._ask, command, arguments)

    def _ask(self, command: str, arguments: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._kill()

        timer = threading.Timer(self.timeout or threading.TIMEOUT_MAX, expire)
        timer.daemon = True
        timer.start()
        try:
            send(self._process.stdin, (command, arguments))
            kind, value = receive(self._process.stdout)
        except (EOFError, BrokenPipeError, OSError, ValueError):
            if expired.is_set():
                message = f"no answer in {self.timeout:g} s; it has been stopped"
            else:
                message = _death(self._process.wait())
            raise EngineFailed(self.name, message, self._last_output()) from None
        finally:
            timer.cancel()
        future: Future[Any] = Future()
        _settle(future, self.name, (kind, value))
        return future.result()

    def _last_output(self) -> str:
        try:
            self._errors.seek(0)
            text = self._errors.read().decode(errors="replace")
        except ValueError:
            return ""
        return "\n".join(text.splitlines()[-15:])

    def close(self) -> None:
        """Kill the process, and wait for it."""
        self._kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._end()

    def _kill(self) -> None:
        if self.group and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _end(self) -> None:
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "it was killed, most likely for want of memory"
    if status < 0:
        return f"it crashed with {signal.Signals(-status).name}"
    return f"it ended with exit status {status}"


def _settle(future: Future[Any], name: str, result: tuple[str, Any]) -> None:
    kind, value = result
    if kind == "ok":
        future.set_result(value)
    elif kind == "user":
        cls, diagnostics = value
        fault: UserError = cls(diagnostics)
        future.set_exception(fault)
    else:
        last = value.strip().splitlines()[-1]
        future.set_exception(EngineFailed(name, f"it raised {last}", value))


class Remote:
    """One session of an engine, called like a session but answering with futures."""

    def __init__(self, engine: Engine, key: str) -> None:
        self.engine = engine
        self.key = key

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    def call(self, method: str, *args: Any, hold: str | None = None, **kwargs: Any) -> Future[Any]:
        """Call a method of the session; with `hold` the answer stays there, to `take` parts of."""
        return self.engine.submit(
            "call", key=self.key, method=method, args=args, kwargs=kwargs, hold=hold
        )

    def draw(self, **options: Any) -> Future[Any]:
        """The moments of what new models start with: the arguments of `initial.moments`."""
        return self.engine.submit("draw", key=self.key, options=options)

    def take(self, hold: str, parts: Sequence[Hashable]) -> Future[Any]:
        """Parts of a held answer, in this order; each can be taken once."""
        return self.engine.submit("take", hold=hold, parts=tuple(parts))

    def call_close(self) -> Future[Any]:
        """Close the session; its engine lives on for the next network."""
        return self.engine.submit("close", key=self.key)

    @staticmethod
    def open(
        engine: Engine, emitted: Emitted, dtype: str, /, **options: Any
    ) -> tuple[Remote, Future[Any]]:
        """Open a session for this dtype; wait for the future before using it."""
        key = f"{dtype}"
        future = engine.submit(
            "open", key=key, backend=emitted.backend, emitted=emitted, dtype=dtype, **options
        )
        return Remote(engine, key), future


@contextmanager
def engines(
    names: list[str], *, in_process: bool, timeout: float = TIMEOUT
) -> Iterator[dict[str, Engine]]:
    """One engine for each name, ended on the way out."""
    made: dict[str, Engine] = {}
    try:
        for name in names:
            if in_process:
                made[name] = InProcess(name)
            else:
                environment = runnable(name).environment
                made[name] = Child(name, timeout=timeout, environment=environment)
        yield made
    finally:
        for engine in made.values():
            engine.close()
