"""Options and surroundings of all tests."""

from __future__ import annotations

import gc
import importlib.abc
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A project of its own, which tests run in a process of its own.
collect_ignore = ["outside_project"]

# Read by the libraries when they are imported, which tests do late.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A pull request fails for what it changed, not for what chance turned up: that is for the night.
settings.register_profile(
    "default",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=1000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


class _TorchFirst(importlib.abc.MetaPathFinder):
    """Imports torch before TensorFlow; the other way round some builds of the two crash."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname == "tensorflow" and "torch" not in sys.modules:
            import torch  # noqa: F401 - for its being imported
        return None


sys.meta_path.insert(0, _TorchFirst())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bless", action="store_true", help="write golden files instead of comparing with them"
    )


def pytest_collection_finish() -> None:
    """Look for garbage less often, and not in what has been imported, which is most of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare text with a file that is checked in, or write it with `--bless`."""
    bless = bool(request.config.getoption("--bless"))

    def compare(path: Path, text: str) -> None:
        if bless:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; `pytest --bless` writes it"
        assert text == path.read_text(encoding="utf-8"), f"`pytest --bless` rewrites {path}"

    return compare


@pytest.fixture
def digits() -> Path:
    """The spec of the demo."""
    return Path(__file__).parents[1] / "specs" / "digits.yaml"
