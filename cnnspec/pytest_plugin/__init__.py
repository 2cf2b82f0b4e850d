"""Checks of specs as tests: a pytest plugin, which is installed with the package.

A spec is a file, a pair of back ends is collected in it, and a quantity of that pair is a test:
`specs/net.yaml::numpy-torch::forward`. This module is imported by every run of pytest, so it
imports nothing; where no spec is named it does nothing either.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cnnspec.pytest_plugin.items import Plan, SpecFile

PLAN: pytest.StashKey[Plan] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names specs."""
    parser.getgroup("cnnspec", "back ends that agree").addoption(
        "--cnnspec-specs",
        action="append",
        metavar="GLOB",
        help="check these specs, instead of those in [tool.cnnspec] of pyproject.toml; may be "
        "given several times",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Find out which specs there are."""
    config.addinivalue_line("markers", "cnnspec: a check that back ends agree on a spec")
    file = config.rootpath / "pyproject.toml"
    named = file.is_file() and b"cnnspec" in file.read_bytes()
    if named or config.getoption("--cnnspec-specs"):
        from cnnspec.pytest_plugin.settings import plan

        found = plan(config)
        if found is not None:
            config.stash[PLAN] = found


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist where results are shared."""
    if PLAN in node.config.stash:
        node.workerinput["cnnspec_shared"] = node.config.stash[PLAN].share()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SpecFile | None:
    """A file that is one of the specs."""
    found = parent.config.stash.get(PLAN, None)
    if found is None or file_path not in found.files:
        return None
    from cnnspec.pytest_plugin.items import SpecFile

    return SpecFile.from_parent(parent, path=file_path)
