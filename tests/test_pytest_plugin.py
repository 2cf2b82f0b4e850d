"""The pytest plugin: on checks that are known, and in an outside project for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from cnnspec.check.options import SpecReport
from cnnspec.diagnostics import Diagnostic
from cnnspec.pytest_plugin.checks import outcomes
from cnnspec.quantities import QUANTITIES
from tests.test_formats import comparison, differing, reports

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
OUTSIDE = Path(__file__).parent / "outside_project"
# As its entry point does, whether or not the environment has been installed since there is one.
PLUGIN = ("-p", "no:cnnspec", "-p", "cnnspec.pytest_plugin", "-p", "no:cacheprovider")
SPEC = "cnnspec: 1\ninput: [4]\nlayers: [tanh]\n"
PAIRS = [("numpy", "torch"), ("numpy", "keras"), ("torch", "keras")]


def test_it_is_installed_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"cnnspec": "cnnspec.pytest_plugin"}


# --- an outside project ----------------------------------------------------------------------


def outside(place: Path, *arguments: str) -> tuple[int, str]:
    """Run pytest in a copy of the outside project."""
    if not place.exists():
        shutil.copytree(OUTSIDE, place)
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


CASES = [
    f"specs/{spec}.yaml::numpy-torch::{quantity}"
    for spec in ("linear", "small")
    for quantity in QUANTITIES
]

COUNTING = """
import importlib
module = importlib.import_module("cnnspec.check.files")
real = module.check_graph
def counted(graph, path, *rest):
    with open("count.txt", "a") as file:
        file.write(path + "\\n")
    return real(graph, path, *rest)
module.check_graph = counted
"""


nightly = pytest.mark.nightly


@pytest.mark.parametrize(
    ("workers", "dist"),
    [
        ("1", "load"),
        pytest.param("2", "load", marks=nightly),  # cases are spread over workers one by one
        pytest.param("2", "loadgroup", marks=nightly),
        pytest.param("2", "loadfile", marks=nightly),
        pytest.param("2", "worksteal", marks=nightly),
    ],
)
def test_an_outside_project_is_checked_by_workers(tmp_path: Path, workers: str, dist: str) -> None:
    """Each spec once, whichever worker has its cases."""
    place = tmp_path / "project"
    shutil.copytree(OUTSIDE, place)
    (place / "conftest.py").write_text(COUNTING)
    status, said = outside(place, "-n", workers, "--dist", dist, "-v")
    assert status == 0, said
    for case in [*CASES, "tests/test_own.py::test_own"]:
        assert case in said
    assert "11 passed, 2 skipped" in said  # neither network has running statistics
    assert (place / "count.txt").read_text().split() in (
        ["specs/linear.yaml", "specs/small.yaml"],
        ["specs/small.yaml", "specs/linear.yaml"],
    )


IMPORTS = """
import sys
def pytest_unconfigure():
    print("LOADED", sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {"numpy", "scipy", "torch", "tensorflow", "keras", "jax", "safetensors"}


def loaded(said: str) -> set[str]:
    line = next(line for line in said.splitlines() if line.startswith("LOADED "))
    return set(line.removeprefix("LOADED ").strip("[]").replace("'", "").split(", "))


def test_collecting_imports_no_framework(tmp_path: Path) -> None:
    place = tmp_path / "project"
    shutil.copytree(OUTSIDE, place)
    (place / "conftest.py").write_text(IMPORTS)
    status, said = outside(place, "--collect-only", "-q", "-p", "no:hypothesispytest")
    assert status == 0, said
    assert said.split("LOADED")[0].split()[:13] == ["tests/test_own.py::test_own", *CASES]
    assert not loaded(said) & HEAVY
    assert "cnnspec" in loaded(said)


def test_a_project_without_specs_pays_nothing(tmp_path: Path) -> None:
    place = tmp_path / "project"
    shutil.copytree(OUTSIDE, place)
    (place / "conftest.py").write_text(
        IMPORTS.replace('.partition(".")[0]', "").replace('print("', 'print("\\n" "')
    )
    (place / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    status, said = outside(place, "-q", "-p", "no:hypothesispytest")
    assert status == 0, said
    ours = {name for name in loaded(said) if name.partition(".")[0] in {"cnnspec", "pydantic"}}
    assert ours == {"cnnspec", "cnnspec.version", "cnnspec.pytest_plugin"}


# --- known checks ----------------------------------------------------------------------------


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of two specs; the check of `b.yaml` finds that torch is wrong."""
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyprojecttoml(
        "[tool.cnnspec]\nspecs = ['specs/*.yaml']\nbackends = ['numpy', 'torch', 'keras']\n"
    )
    pytester.mkdir("specs")
    for name in ("a", "b"):
        (pytester.path / "specs" / f"{name}.yaml").write_text(SPEC)
    made: list[str] = []

    def check_file(path: str, request: Any, engines: Any) -> SpecReport:
        made.append(path)
        if path.endswith("b.yaml"):
            return differing(path)
        cases = [comparison(backends=pair, quantity=q) for pair in PAIRS for q in QUANTITIES]
        return SpecReport(path, comparisons=cases)

    checks = import_module("cnnspec.pytest_plugin.checks")
    monkeypatch.setattr(checks, "check_file", check_file)
    pytester.checked = made  # type: ignore[attr-defined] # for the tests to look at
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*PLUGIN, "-p", "no:xdist", *arguments)


def test_a_failure_is_our_diagnostic_and_no_traceback(project: pytest.Pytester) -> None:
    result = run(project, "-rfs")
    # Of b.yaml torch's forward is wrong, Keras' is right, and nothing else was compared.
    result.assert_outcomes(passed=20, failed=1, skipped=15)
    said = result.stdout.str()
    assert "FAILED specs/b.yaml::numpy-torch::forward" in said
    failure = said.split("= FAILURES =")[1].split("short test summary")[0]
    assert "error[backends-differ]: numpy and torch differ in the output of `tanh1`" in failure
    assert "net.yaml:3:10" in failure or "specs/b.yaml:3:10" in failure
    assert "worst element [0, 1]" in failure
    assert "note: a stated default" in failure
    assert "Traceback" not in said
    assert "items.py" not in failure
    assert "there is nothing to compare" in said  # why a case is skipped
    assert project.checked == ["specs/a.yaml", "specs/b.yaml"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "passed", "deselected"),
    [
        (("specs/a.yaml",), 18, 0),
        (("specs/a.yaml::numpy-torch",), 6, 0),
        (("specs/a.yaml::numpy-torch::step",), 1, 0),
        (("specs/a.yaml", "-k", "numpy-keras and step"), 1, 17),
        (("specs/a.yaml", "-m", "not cnnspec"), 0, 18),
        (("--cnnspec-specs", "specs/a*"), 18, 0),
        (("specs/a.yaml", "--cnnspec-specs", "specs/a*"), 18, 0),
    ],
)
def test_cases_are_chosen_as_all_tests_are(
    project: pytest.Pytester, arguments: tuple[str, ...], passed: int, deselected: int
) -> None:
    result = run(project, *arguments)
    result.assert_outcomes(passed=passed, deselected=deselected)


def test_other_tests_alone_leave_specs_alone(project: pytest.Pytester) -> None:
    project.makepyfile(test_alone="def test_alone():\n    pass\n")
    run(project, "test_alone.py").assert_outcomes(passed=1)
    assert project.checked == []  # type: ignore[attr-defined]


def test_back_ends_of_the_project_are_the_pairs(project: pytest.Pytester) -> None:
    project.makepyprojecttoml("[tool.cnnspec]\nspecs = ['specs']\nbackends = ['torch', 'keras']\n")
    said = run(project, "--collect-only", "-q", "specs/a.yaml").stdout.str()
    pairs = ("numpy-torch", "numpy-keras", "torch-keras")
    assert [f"specs/a.yaml::{pair}::forward" in said for pair in pairs] == [True] * 3


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ("spec = ['specs/*.yaml']", "bad-config"),
        ("specs = 'specs/*.yaml'", "bad-config"),
        ("specs = ['nope/*.yaml']", "no-specs"),
        ("specs = ['specs']\nbackends = ['numpy']", "nothing-compared"),
        ("specs = ['specs']\nbackends = ['numpy', 'numpy', 'torch']", "backend-twice"),
        ("specs = ['specs']\nbackends = ['numpy', 'torhc']", "unknown-backend"),
    ],
)
def test_wrong_settings_are_one_usage_error(
    project: pytest.Pytester, settings: str, code: str
) -> None:
    project.makepyprojecttoml(f"[tool.cnnspec]\n{settings}\n")
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str()
    assert said.startswith(f"ERROR: error[{code}]")
    assert said.count("error[") == 1
    assert "Traceback" not in said
    assert project.checked == []  # type: ignore[attr-defined]


def test_a_pattern_of_the_command_line_must_stand_for_something(project: pytest.Pytester) -> None:
    result = run(project, "--cnnspec-specs", "nope/*")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "`nope/*` stands for no spec" in result.stderr.str()


def test_libraries_are_no_tests_unless_they_are_named(project: pytest.Pytester) -> None:
    library = project.path / "specs" / "lib.yaml"
    library.write_text("cnnspec: 1\ndefine: {own: {layers: [tanh]}}\n")
    assert "lib.yaml" not in run(project, "--collect-only", "-q").stdout.str()
    said = run(project, "--collect-only", "-q", "--cnnspec-specs", "specs/lib.yaml").stdout.str()
    assert "specs/lib.yaml::numpy-torch::forward" in said


def test_a_spec_that_is_wrong_fails_every_case(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = import_module("cnnspec.check.files").check_file
    monkeypatch.setattr(import_module("cnnspec.pytest_plugin.checks"), "check_file", real)
    (project.path / "specs" / "a.yaml").write_text(SPEC.replace("tanh", "tanhh"))
    result = run(project, "specs/a.yaml")
    result.assert_outcomes(failed=18)
    said = result.stdout.str()
    assert "error[unknown-op]" in said
    assert "specs/a.yaml:3:10" in said
    assert "Traceback" not in said


def test_warnings_of_a_spec_are_warnings(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SpecReport("specs/a.yaml", comparisons=[comparison()])
    found.diagnostics = [Diagnostic("unread", "a column is unread", severity="warning")]
    checks = import_module("cnnspec.pytest_plugin.checks")
    monkeypatch.setattr(checks, "check_file", lambda *given: found)
    result = run(project, "specs/a.yaml", "-W", "always")
    result.assert_outcomes(passed=1, skipped=17)
    assert "SpecWarning: warning[unread]: a column is unread" in result.stdout.str()
    result = run(project, "specs/a.yaml", "-W", "error::cnnspec.api.SpecWarning")
    result.assert_outcomes(failed=1, passed=1, skipped=16)
    assert "Traceback" not in result.stdout.str()


def test_results_are_remembered_where_the_project_says_so(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyprojecttoml("[tool.cnnspec]\nspecs = ['specs/a.yaml']\ncache = true\n")
    for _ in range(2):
        run(project).assert_outcomes(passed=18)
    assert project.checked == ["specs/a.yaml"]  # type: ignore[attr-defined]
    monkeypatch.setenv("CI", "1")
    run(project).assert_outcomes(passed=18)
    assert project.checked == ["specs/a.yaml"] * 2  # type: ignore[attr-defined]


# --- what a report comes to ------------------------------------------------------------------


def test_an_engine_that_fails_fails_its_pairs() -> None:
    report = SpecReport(
        "a.yaml",
        "engine_failed",
        [comparison(backends=pair) for pair in PAIRS],
        diagnostics=[Diagnostic("engine-failed", "keras: it was killed")],
    )
    found = outcomes(report, PAIRS)
    assert [found.of(pair, "forward").failed for pair in PAIRS] == [False, True, True]
    assert "it was killed" in found.of(("numpy", "keras"), "forward").text
    assert found.of(("numpy", "torch"), "step").failed  # nothing was compared


def test_what_is_held_against_the_spec_counts_for_every_pair_of_it() -> None:
    wrong = comparison(backends=("spec", "torch"), quantity="step", agree=False, update=0)
    rest = [comparison(backends=pair, quantity="step", update=0) for pair in PAIRS]
    found = outcomes(SpecReport("a.yaml", "disagree", [*rest, wrong]), PAIRS)
    assert [found.of(pair, "step").failed for pair in PAIRS] == [True, False, True]


@given(reports())
def test_what_does_not_agree_fails_some_case(report: Any) -> None:
    for spec in report.specs:
        for pairs in (PAIRS, PAIRS[1:2]):  # of these the comparisons are not
            found = outcomes(spec, pairs)
            if not spec.agree:
                assert any(case.failed for case in found.cases.values())
