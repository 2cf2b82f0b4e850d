"""What a command imports, in a process of its own; start-up time is a matter of modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numpy", "scipy", "torch", "tensorflow", "keras", "jax", "sklearn", "safetensors", "rich")

PROBE = """
import json, sys
{before}
from cnnspec.__main__ import main
sys.argv = ["cnnspec", *json.loads(sys.argv[1])]
status = main()
print("LOADED", json.dumps([status, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def loaded(arguments: list[str], place: Path, before: str = "") -> set[str]:
    """The top-level modules that a command has imported when it is done."""
    process = subprocess.run(
        [sys.executable, "-c", PROBE.format(before=before), json.dumps(arguments)],
        capture_output=True,
        text=True,
        cwd=place,
        timeout=60,
        check=False,
    )
    line = process.stdout.strip().rpartition("\n")[2]
    assert line.startswith("LOADED "), process.stderr
    status, modules = json.loads(line.removeprefix("LOADED "))
    assert status == 0, process.stderr
    return set(modules)


COMMANDS = (
    "validate {spec}",
    "validate {spec} --format json",
    "summary {spec}",
    "summary {spec} --format json",
    "summary {spec} --format csv --depth 1",
    "diff {spec} {spec}",
    "explain {spec}",
    "explain {spec} conv1",
    "expand {spec}",
    "ops",
    "schema",
    "new",
    "new net.yaml",
    "compile {spec} --backend numpy",
    "compile {spec} --backend torch",
    "compile {spec} --backend keras",
    "compile {spec} --backend torch --reproducible -o net.py",
    "compile {spec} --backend keras --optimize inference",
    "expand {spec} --optimize inference",
    "--version",
    "--help",
    "compile --help",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_heavy(command: str, digits: Path, tmp_path: Path) -> None:
    arguments = command.format(spec=digits).split(" ")
    assert not loaded(arguments, tmp_path) & set(HEAVY)


def test_the_guard_can_fail(digits: Path, tmp_path: Path) -> None:
    assert loaded(["validate", str(digits)], tmp_path, before="import numpy") & set(HEAVY)
    pytest.importorskip("numpy")
    assert "numpy" in loaded(["init-weights", str(digits), "-o", "w"], tmp_path)


def test_importing_the_package_is_nearly_free() -> None:
    process = subprocess.run(
        [sys.executable, "-c", "import sys, cnnspec; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(process.stdout.split())
    assert not modules & {*HEAVY, "pydantic", "yaml", "typer"}
    assert {m for m in modules if m.startswith("cnnspec")} == {"cnnspec", "cnnspec.version"}


def test_comparing_a_compiled_file_needs_no_framework(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("cnnspec: 1\ninput: [1, 4]\nlayers: [tanh]\n")
    command = ["compile", "net.yaml", "-b", "torch", "-o", "net.py"]
    for more in ([], ["--check"]):
        assert not loaded([*command, *more], tmp_path) & set(HEAVY)
