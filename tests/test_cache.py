"""Results of earlier checks: when they stand, when they do not, and what is done with bad ones."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cnnspec.check import cache as module
from cnnspec.check.cache import Cache
from cnnspec.check.files import Request
from cnnspec.check.options import Options, Report, SpecReport
from cnnspec.check.report import to_text
from cnnspec.cli import main
from cnnspec.config import cache_directory, find_config, read_config
from cnnspec.diagnostics import SetupError
from cnnspec.parameters import written
from tests.test_formats import WRONG, comparison

COMMAND = import_module("cnnspec.check.command")
SPEC = """\
cnnspec: 1
include: [lib.yaml]
parameters: {width: 2}
input: [4]
layers: [own, {dense: {units: $width}}]
"""
LIBRARY = "cnnspec: 1\ndefine: {own: {layers: [tanh, {dense: {units: 3}}]}}\n"
REQUEST = Request(Options(("numpy", "torch")))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    Path("net.yaml").write_text(SPEC)
    Path("lib.yaml").write_text(LIBRARY)
    return tmp_path


def agreeing(path: str = "net.yaml") -> SpecReport:
    made = [
        comparison(),
        comparison(quantity="step", update=3, judged=False, reason="noise", max_error=math.inf),
        comparison(dtype="float32", reference_error=1e-7, worst=None),
    ]
    return SpecReport(path, comparisons=made, notes=["a"], inputs={"input": (4,)}, reduced=True)


def remembered(request: Request = REQUEST, path: str = "net.yaml") -> SpecReport | None:
    return Cache("cache").find(path, request)


def remember(request: Request = REQUEST, report: SpecReport | None = None) -> Cache:
    made = Cache("cache")
    assert made.find("net.yaml", request) is None
    made.keep("net.yaml", request, agreeing() if report is None else report)
    return made


def entries() -> list[Path]:
    return sorted(Path("cache").glob("*.json"))


def test_what_agrees_is_remembered_in_full() -> None:
    cache = remember()
    assert not cache.warnings
    found = remembered()
    assert found is not None
    wanted = agreeing()
    assert found.cached
    assert found.agree
    assert found.comparisons == wanted.comparisons
    assert (found.inputs, found.reduced) == (wanted.inputs, wanted.reduced)
    assert found.notes[:1] == ["a"]
    assert "from the cache" in to_text(Report([found]))
    assert Path("cache/.gitignore").read_text() == "*\n"


def test_another_place_of_the_same_spec_is_the_same() -> None:
    remember()
    os.mkdir("sub")
    for name in ("net.yaml", "lib.yaml"):
        os.rename(name, f"sub/{name}")
    found = remembered(path="sub/net.yaml")
    assert found is not None
    assert found.spec == "sub/net.yaml"


@pytest.mark.parametrize("status", ["disagree", "engine_failed", "invalid_data", "environment"])
def test_nothing_else_is_remembered(status: Any) -> None:
    remember(report=SpecReport("net.yaml", status, comparisons=[WRONG]))
    assert not os.path.exists("cache")


OPTIONS: dict[str, Any] = {
    "backends": ("numpy", "keras"),
    "dtypes": ("float64",),
    "seed": 1,
    "steps": 3,
    "reduce": True,
    "graph": True,
    "initializers": False,
    "probe": False,
    "device": "cuda",
    "layers": "native",
    "optimize": "inference",
}
SAME = {"in_process": True, "timeout": 1.0}
"""Options by which an engine runs otherwise and computes the same."""
NEVER = {"inputs", "targets", "weights", "save", "sources", "planted"}
"""Those with tests of their own."""


def test_every_option_is_thought_of() -> None:
    known = {*OPTIONS, *SAME, *NEVER}
    assert known == {field.name for field in dataclasses.fields(Options)}


@pytest.mark.parametrize("name", [*OPTIONS, *SAME])
def test_an_option_makes_another_result(name: str) -> None:
    remember()
    value = {**OPTIONS, **SAME}[name]
    other = Request(dataclasses.replace(REQUEST.options, **{name: value}))
    assert (remembered(other) is not None) is (name in SAME)


CHANGES: dict[str, Callable[[], object]] = {
    "spec": lambda: Path("net.yaml").write_text(SPEC + "# more\n"),
    "include": lambda: Path("lib.yaml").write_text(LIBRARY.replace("tanh", "relu")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_makes_another_result(name: str) -> None:
    remember()
    CHANGES[name]()
    assert remembered() is None


def test_parameters_and_inputs_make_other_results() -> None:
    remember()
    assert remembered() is not None
    assert remembered(Request(REQUEST.options, parameters=written(["width=3"]))) is None
    Path("in.npz").write_bytes(b"a")
    request = Request(REQUEST.options, inputs="in.npz")
    assert remembered(request) is None
    remember(request)
    assert remembered(request) is not None
    Path("in.npz").write_bytes(b"b")
    assert remembered(request) is None


@pytest.mark.parametrize("name", ["KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "CUDA_VISIBLE_DEVICES"])
def test_a_variable_makes_another_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remember()
    monkeypatch.setenv(name, "other")
    assert remembered() is None


@pytest.mark.parametrize("name", ["code", "plugins", "python", "platform", "versions"])
def test_other_surroundings_make_another_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remember()
    now = dict(module.surroundings())
    monkeypatch.setattr(module, "surroundings", lambda: {**now, name: "other"})
    assert remembered() is None


def test_the_surroundings_are_those_that_matter(tmp_path: Path) -> None:
    found = module.surroundings()
    installed = {line.split()[0].lower() for line in found["versions"]}
    assert {"numpy", "torch", "keras", "tensorflow", "scipy"} <= installed
    assert found["code"] == module._tree(Path(module.__file__).parents[1])
    package = tmp_path / "package"
    package.mkdir()
    seen = set()
    for text in ("a = 1\n", "a = 2\n"):
        (package / "m.py").write_text(text)
        seen.add(module._tree(package))
    (package / "m.py").rename(package / "n.py")
    seen.add(module._tree(package))
    assert len(seen) == 3
    assert module._locations("cnnspec.anything") == [Path(module.__file__).parents[1]]


SOURCES = {
    "import numpy as np\nfrom torch import nn\nimport math\n": True,
    "from mine import Net\n": False,
    "from . import net\n": False,
    "import importlib\n": False,
    "def f():\n    import mine.net\n": False,
    "__import__('mine')\n": False,
    "open('weights')\n": False,
    "(": False,
}


@pytest.mark.parametrize(("text", "alone"), SOURCES.items())
def test_a_source_counts_if_it_is_its_file_alone(text: str, alone: bool) -> None:
    Path("net.py").write_text(text)
    options = dataclasses.replace(REQUEST.options, sources={"torch": ("net.py", None)})
    request = Request(options)
    remember(request)
    assert (remembered(request) is not None) is alone
    Path("net.py").write_text(text + "\nA = 1\n")
    assert remembered(request) is None


def test_results_that_are_wanted_in_full_are_not_kept() -> None:
    request = Request(dataclasses.replace(REQUEST.options, save=True))
    remember(request)
    assert not os.path.exists("cache")


def test_a_spec_that_changes_while_it_is_checked_is_not_kept() -> None:
    cache = Cache("cache")
    assert cache.find("net.yaml", REQUEST) is None
    Path("net.yaml").write_text(SPEC + "# changed\n")
    cache.keep("net.yaml", REQUEST, agreeing())
    assert not os.path.exists("cache")


# --- bad entries -----------------------------------------------------------------------------


def altered(**fields: Any) -> bytes:
    document = json.loads(entries()[0].read_bytes())
    return json.dumps({**document, **fields}).encode()


CORRUPT: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "half": lambda: entries()[0].read_bytes()[:-40],
    "no JSON": lambda: b"\xff\x00",
    "a list": lambda: b"[]",
    "nested": lambda: b"[" * 100_000,
    "other key": lambda: altered(key="0" * 64),
    "other form": lambda: altered(format=2),
    "more": lambda: altered(more=1),
    "no comparisons": lambda: altered(comparisons=[]),
    "wrong type": lambda: altered(notes="a"),
    "disagrees": lambda: entries()[0].read_bytes().replace(b'"agree":true', b'"agree":false'),
    "unknown quantity": lambda: entries()[0].read_bytes().replace(b"forward", b"backward"),
}


@pytest.mark.parametrize("how", CORRUPT)
def test_a_corrupt_entry_is_ignored_with_a_warning_and_written_anew(how: str) -> None:
    remember()
    (file,) = entries()
    good = file.read_bytes()
    file.write_bytes(CORRUPT[how]())
    assert file.read_bytes() != good
    cache = Cache("cache")
    assert cache.find("net.yaml", REQUEST) is None
    (warning,) = cache.warnings
    assert (warning.code, warning.severity) == ("cache-corrupt", "warning")
    assert file.name in warning.message
    cache.keep("net.yaml", REQUEST, agreeing())
    assert file.read_bytes() == good
    assert remembered() is not None


def test_a_directory_in_place_of_an_entry_is_a_warning() -> None:
    remember()
    (file,) = entries()
    file.unlink()
    file.mkdir()
    cache = Cache("cache")
    assert cache.find("net.yaml", REQUEST) is None
    cache.keep("net.yaml", REQUEST, agreeing())
    assert [w.code for w in cache.warnings] == ["cache-corrupt", "cache-unwritable"]


def test_a_cache_that_cannot_be_written_is_a_warning() -> None:
    Path("cache").write_text("a file")
    cache = remember()
    (warning,) = cache.warnings
    assert (warning.code, warning.severity) == ("cache-unwritable", "warning")
    assert Path("cache").read_text() == "a file"


def _write(number: int) -> None:
    for _ in range(10):
        cache = Cache("cache")
        found = cache.find("net.yaml", REQUEST)
        assert found is None or found.agree
        assert not cache.warnings
        cache.keep("net.yaml", REQUEST, agreeing())


def test_several_checks_may_share_a_directory() -> None:
    """Whoever reads while others write reads a whole entry."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(_write, range(4))
    assert remembered() is not None
    assert set(os.listdir("cache")) == {".gitignore", "CACHEDIR.TAG", entries()[0].name}


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The specs that were really checked."""
    found: list[str] = []

    def check_file(path: str, request: Any, made: Any) -> SpecReport:
        found.append(path)
        return agreeing(path)

    monkeypatch.setattr(COMMAND, "check_file", check_file)
    return found


CHECK = ("check", "net.yaml", "--backends", "numpy,torch", "--in-process")


def test_a_second_check_is_none(checks: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert [main([*CHECK, "--cache"]) for _ in range(2)] == [0, 0]
    assert checks == ["net.yaml"]
    assert os.path.isdir(".cnnspec_cache")
    assert "from the cache" in capsys.readouterr().out
    assert main([*CHECK]) == 0
    assert main([*CHECK, "--cache", "--no-cache"]) == 0
    assert main([*CHECK, "--cache-dir", "elsewhere"]) == 0
    assert checks == ["net.yaml"] * 4
    assert main([*CHECK, "--cache-dir", "elsewhere", "--format", "json"]) == 0
    assert checks == ["net.yaml"] * 4


def test_a_corrupt_cache_is_told(checks: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CHECK, "--cache-dir", "cache"]) == 0
    entries()[0].write_text("{}")
    capsys.readouterr()
    assert main([*CHECK, "--cache-dir", "cache"]) == 0
    assert "warning[cache-corrupt]" in capsys.readouterr().err
    assert len(checks) == 2


def test_the_cache_is_off_by_default_and_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_directory(None) is None
    Path("pyproject.toml").write_text("[tool.cnnspec]\ncache = true\n")
    assert cache_directory(None) == ".cnnspec_cache"
    assert cache_directory(False) is None
    assert cache_directory(False, "there") is None
    monkeypatch.setenv("CI", "true")
    assert cache_directory(None) is None
    assert cache_directory(True) == ".cnnspec_cache"
    assert cache_directory(None, "there") == "there"
    monkeypatch.setenv("CI", "false")
    assert cache_directory(None) == ".cnnspec_cache"


# --- [tool.cnnspec] --------------------------------------------------------------------------


def test_the_nearest_project_counts(tmp_path: Path) -> None:
    Path("pyproject.toml").write_text("[tool.cnnspec]\nsteps = 3\nspecs = ['a/*.yaml']\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_config("a/b").steps == 3
    assert find_config("a/b").specs == ("a/*.yaml",)
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'cnnspec-user'\n")
    assert find_config("a/b").steps is None
    assert read_config("a/b/pyproject.toml") is None


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[tool.cnnspec]\nspec = []\n", 2, "has no `spec`"),
        ('[tool.cnnspec]\n\n  "steps" = "3"\n', 3, "`steps` in `[tool.cnnspec]` is a whole number"),
        ("[tool.x]\nsteps = 1\n[tool.cnnspec]\nsteps = true\n", 4, "is a whole number"),
        ("[tool.cnnspec]\ndtype = 'float16'\n", 2, '"float64" or "float32"'),
        ("[tool.cnnspec]\nbackends = 'numpy,torch'\n", 2, "is a list of names"),
        ("[tool.cnnspec]\nspecs = ['']\n", 2, "is a list of patterns"),
        ("[tool.cnnspec]\ncache = 1\n", 2, "is true or false"),
        ("tool.cnnspec.cache = 1\n", None, "is true or false"),
        ("tool.cnnspec = 1\n", None, "is no table"),
        ("[tool.cnnspec\n", None, "is no TOML file"),
    ],
)
def test_wrong_settings_have_a_place(text: str, line: int | None, message: str) -> None:
    Path("pyproject.toml").write_text(text)
    with pytest.raises(SetupError) as refused:
        find_config()
    (found,) = refused.value.diagnostics
    assert found.code == "bad-config"
    assert message in found.message
    assert (None if found.primary is None else found.primary.span.line) == line
    if line is not None and found.primary is not None:
        assert found.primary.span.column == 1 + (4 - 1 if '"steps"' in text else 0)
