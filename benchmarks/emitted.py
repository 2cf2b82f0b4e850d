"""LeNet as every benchmark emits it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import cnnspec
from benchmarks.harness import Result, judged
from cnnspec.backends.program import Program

SPEC = "specs/lenet_keras.yaml"
BATCH = 64
WITHIN = 1.03


def lenet(backend: str) -> tuple[ModuleType, Any]:
    """The module that `compile` writes, and its model."""
    emitted = cnnspec.emit(SPEC, backend)
    module = Program(emitted.text, backend).run()
    return module, getattr(module, emitted.entry)()


def within(result: Result) -> Result:
    """As fast as by hand, to 3 %; faster is fine."""
    return judged(result, WITHIN, "within 3 %")
