"""What a command imports, in a process of its own; start-up time is a matter of modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cnnspec.ops import Op, homes, registered
from cnnspec.plugins import built_in

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


def modules_after(*arguments: str) -> set[str]:
    """Every module that a command has imported when it is done."""
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from cnnspec.__main__ import main; sys.argv = sys.argv[1:]; main();"
            "print(*sys.modules, file=sys.stderr)",
            "cnnspec",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(process.stderr.split())


def test_validate_imports_what_the_spec_needs(tmp_path: Path) -> None:
    spec = tmp_path / "net.yaml"
    spec.write_text("cnnspec: 1\ninput: [1, 8, 8]\nlayers: [{conv: {filters: 2, kernel: 3}}]\n")
    found = modules_after("validate", str(spec))
    assert "cnnspec.ops.conv" in found
    unused = {
        "typer",
        "importlib.metadata",
        "cnnspec.training",
        "cnnspec.data_section",
        "cnnspec.ops.activation",
    }
    assert not found & unused
    options = modules_after("validate", "--strict", str(spec))
    assert "typer" in options, "the guard can fail"


def test_whatever_else_pydantic_wants_of_its_loader_is_its_own() -> None:
    program = (
        "from cnnspec.__main__ import _without_plugins_of_pydantic as off; off();"
        "from pydantic.plugin._loader import get_plugins, PYDANTIC_ENTRY_POINT_GROUP as name;"
        "print(get_plugins(), name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "() pydantic\n"


def test_every_op_is_found_in_the_text_of_its_module() -> None:
    assert homes.homes() == {op.key: op.__module__.rpartition(".")[2] for op in ours()}


def test_ops_are_found_inside_an_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = dict(homes._sources())
    assert dict(homes._archived()) == found
    monkeypatch.setattr(homes, "__file__", str(tmp_path / "package.zip" / "homes.py"))
    assert dict(homes._sources()) == found


def ours() -> list[type[Op]]:
    return [op for op in registered() if built_in(op)]
