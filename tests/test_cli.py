from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import cnnspec
from cnnspec.backends.base import Tuning
from cnnspec.cli import main
from cnnspec.cli.terminal import colored
from cnnspec.parameters import Written

SPEC = """\
cnnspec: 1
name: small
input: [1, 5, 6]
layers:
  - conv: {name: conv1, filters: 2, kernel: 3}
  - relu
  - flatten
  - dense: {name: fc, units: 3}
"""
WRONG = SPEC.replace("kernel: 3", "kernel: 3, paddng: 1")
STRIDED = SPEC.replace("kernel: 3", "kernel: 3, stride: 2")  # leaves a column unread


class Result(NamedTuple):
    status: int
    out: str
    err: str


class Shell:
    """Runs commands in a directory of its own that holds a right and a wrong spec."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Result:
        status = main(arguments)
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(status, captured.out, captured.err)


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for file, text in (("net.yaml", SPEC), ("wrong.yaml", WRONG), ("strided.yaml", STRIDED)):
        (tmp_path / file).write_text(text)
    return Shell(capsys)


# --- all commands ------------------------------------------------------------------------------

READERS = ("validate", "summary", "explain", "expand", "compile -b torch", "init-weights -o w")
RUNNERS = ("check", "train -b numpy")


@pytest.mark.parametrize("command", [*READERS, *RUNNERS])
@pytest.mark.parametrize(
    ("file", "status", "code"),
    [
        ("wrong.yaml", 1, "unknown-field"),
        ("missing.yaml", 2, "file-not-found"),
        (".", 2, "is-a-directory"),
        ("", 2, "file-not-found"),
        ("binary.yaml", 1, "not-utf8"),
        ("archive.yaml", 1, "not-text"),
        ("empty.yaml", 1, "empty-document"),
    ],
)
def test_files_that_are_no_spec(
    run: Shell, command: str, file: str, status: int, code: str
) -> None:
    Path("binary.yaml").write_bytes(b"\x7fELF\xff\xfe\x00")
    Path("archive.yaml").write_bytes(b"PK\x00\x00")
    Path("empty.yaml").write_text("")
    name, *options = command.split(" ")
    if name == "check" and file == ".":  # it checks every spec in there: see test_check_files
        status, code = 1, "unknown-field"
    result = run(name, file, *options)
    said = result.out if name == "check" and status == 1 else result.err  # a report says it
    assert (result.status, f"[{code}]" in said) == (status, True), said
    assert said is result.out or result.out == ""
    assert not Path("w").exists()


@pytest.mark.parametrize("command", READERS)
def test_no_read_right(run: Shell, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = open

    def refuse(file: Any, *args: Any, **kwargs: Any) -> Any:
        # Root may read everything, so the refusal is played.
        if str(file).endswith("net.yaml"):
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    name, *options = command.split(" ")
    result = run(name, "net.yaml", *options)
    assert result.status == 2
    assert "error[file-unreadable]: `net.yaml` cannot be read: permission denied" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["validate"],
        ["validate", "net.yaml", "--nonsense"],
        ["validate", "net.yaml", "--format", "xml"],
        ["compile", "net.yaml"],
        ["compile", "net.yaml", "-b", "torch", "--check"],
        ["compile", "net.yaml", "-b", "torch", "--weights", "w"],
        ["compile", "net.yaml", "-b", "mxnet"],
        ["init-weights", "net.yaml"],
        ["init-weights", "net.yaml", "-o", "w", "--seed", "-1"],
        ["init-weights", "net.yaml", "-o", "w", "--seed", "x"],
        ["check", "net.yaml", "--backends", ","],
        ["check", "net.yaml", "--format", "xml"],
        ["check", "net.yaml", "-o", "a"],
        ["check", "net.yaml", "--format", "json", "--format", "junit"],
        ["check", "net.yaml", "--format", "json", "-o", "a", "--format", "junit", "-o", "./a"],
        ["check", "net.yaml", "--steps", "-1"],
        ["check", "net.yaml", "--dtype", "float16"],
        ["check", "net.yaml", "--source", "torch"],
        ["check", "net.yaml", "--source", "=x.py"],
        ["train", "net.yaml"],
        ["train", "net.yaml", "-b", "torch", "--epochs", "-1"],
        ["explain", "net.yaml", "conv9"],
    ],
)
def test_wrong_usage(run: Shell, arguments: list[str]) -> None:
    before = sorted(os.listdir())
    result = run(*arguments)
    assert result.status == 2
    assert result.out == ""
    assert "Error: " in result.err or "error[" in result.err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "command",
    ["", *(c.split(" ")[0] for c in (*READERS, *RUNNERS)), "diff", "ops", "schema", "new"],
)
def test_help_is_enough(run: Shell, command: str) -> None:
    result = run(*([command] if command else []), "--help")
    assert result.status == 0
    assert result.err == ""
    assert "Usage: cnnspec" in result.out
    assert "\b" not in result.out
    if command:
        assert f"\n    cnnspec {command}" in result.out, "an example"
    assert all(len(line) <= 80 for line in result.out.splitlines())


def test_no_arguments_show_the_help(run: Shell) -> None:
    result = run()
    assert "Commands:" in result.out + result.err


def test_version(run: Shell) -> None:
    assert run("--version") == (0, f"cnnspec {cnnspec.__version__}\n", "")


# --- validate ----------------------------------------------------------------------------------


def test_validate(run: Shell) -> None:
    assert run("validate", "net.yaml") == (0, "net.yaml: ok, 4 layers, 95 parameters\n", "")


def test_validate_shows_the_place(run: Shell) -> None:
    result = run("validate", "wrong.yaml")
    assert result.status == 1
    assert " --> wrong.yaml:5:48\n" in result.err
    assert "did you mean `padding`?" in result.err
    assert "\x1b" not in result.err
    concise = run("validate", "wrong.yaml", "--format", "concise")
    assert concise.status == 1
    assert concise.err.splitlines()[0].startswith("wrong.yaml:5:48: error[unknown-field]: ")


def test_validate_several(run: Shell) -> None:
    result = run("validate", "net.yaml", "wrong.yaml", "strided.yaml")
    assert result.status == 1
    assert [line.partition(":")[0] for line in result.out.splitlines()] == [
        "net.yaml",
        "strided.yaml",
    ]
    assert "wrong.yaml:5:48" in result.err
    assert "strided.yaml:5:" in result.err
    assert run("validate", "wrong.yaml", "missing.yaml").status == 2


@pytest.mark.parametrize(
    "files", [("net.yaml",), ("net.yaml", "wrong.yaml"), ("strided.yaml",), ("missing.yaml",)]
)
def test_validate_is_the_same_with_an_option(run: Shell, files: tuple[str, ...]) -> None:
    """Without one the command line is read by other code."""
    assert run("validate", *files) == run("validate", *files, "--format", "full")


def test_validate_json(run: Shell) -> None:
    result = run("validate", "net.yaml", "wrong.yaml", "--format", "json")
    assert result.status == 1
    assert result.err == ""
    first = json.loads(result.out)["diagnostics"][0]
    assert (first["code"], first["file"], first["line"]) == ("unknown-field", "wrong.yaml", 5)
    assert json.loads(run("validate", "net.yaml", "--format", "json").out) == {"diagnostics": []}


def test_warnings_count_under_strict_only(run: Shell) -> None:
    result = run("validate", "strided.yaml")
    assert result.status == 0
    assert "warning[" in result.err
    assert run("validate", "strided.yaml", "--strict").status == 1
    assert run("validate", "net.yaml", "--strict").status == 0

    result = run("compile", "strided.yaml", "-b", "torch")
    assert result.status == 0
    assert "warning[" in result.err
    assert result.out.startswith('"""small: ')
    result = run("compile", "strided.yaml", "-b", "torch", "-o", "net.py", "--strict")
    assert result.status == 1
    assert not Path("net.py").exists()


def test_names_of_files_cannot_write_to_the_terminal(run: Shell) -> None:
    Path("\x1b[31m.yaml").write_text(SPEC)
    result = run("validate", "\x1b[31m.yaml", "\x1b[32m.yaml")
    assert result.status == 2
    assert "\x1b" not in result.out + result.err
    assert "\\x1b[31m.yaml: ok" in result.out


# --- summary, explain, expand, ops, schema, new ------------------------------------------------


def test_summary(run: Shell) -> None:
    table = run("summary", "net.yaml")
    assert table.status == 0
    assert "conv1" in table.out
    markdown = run("summary", "net.yaml", "--format", "markdown")
    assert "| conv1 | conv | 2x3x4 |" in markdown.out
    found = json.loads(run("summary", "net.yaml", "--format", "json").out)
    assert found["name"] == "small"
    counts = {
        "parameters": 95,
        "trainable": 95,
        "non_trainable": 0,
        "running_statistics": 0,
        "macs": 2 * 12 * 9 + 24 * 3,
        "flops": 2 * (2 * 12 * 9 + 24 * 3) + 2 * 12 + 3,
        "other_ops": 2 * 12,
    }
    assert found["totals"] == counts
    assert {name: found[name] for name in counts} == counts
    assert found["layers"][0]["shape"] == [2, 3, 4]


def test_summary_options(run: Shell) -> None:
    folded = run("summary", "net.yaml", "--depth", "0", "--batch", "8")
    assert "small  network  3" in folded.out
    assert "batch of 8" in folded.out
    lines = run(
        "summary", "net.yaml", "--format", "csv", "--columns", "layer,macs"
    ).out.splitlines()
    assert lines == ["layer,macs", "conv1,216", "relu1,0", "flatten1,0", "fc,72"]
    every = run("summary", "net.yaml", "--columns", "all")
    assert "other ops" in every.out
    for wrong in (["--columns", "layer,mac"], ["--depth", "-1"], ["--batch", "0"]):
        refused = run("summary", "net.yaml", *wrong)
        assert (refused.status, refused.out) == (2, "")
    assert "there is no column 'mac'" in run("summary", "net.yaml", "--columns", "mac").err


# --- diff --------------------------------------------------------------------------------------


def test_diff(run: Shell) -> None:
    Path("other.yaml").write_text(SPEC.replace("filters: 2", "filters: 4"))
    equal = run("diff", "net.yaml", "net.yaml")
    assert (equal.status, equal.out) == (0, "no difference: 4 layers, 95 parameters\n")
    found = run("diff", "net.yaml", "other.yaml")
    assert (found.status, found.err) == (1, "")
    assert "~ conv1  conv: filters: 2 -> 4; output 2x3x4 -> 4x3x4" in found.out
    markdown = run("diff", "net.yaml", "other.yaml", "--format", "markdown")
    assert "| changed | `conv1` | conv: filters: 2 -> 4;" in markdown.out
    data = json.loads(run("diff", "net.yaml", "other.yaml", "--format", "json").out)
    assert data["differ"] is True
    assert data["layers"]["changed"][0]["name"] == "conv1"


@pytest.mark.parametrize(
    ("before", "after", "status", "code"),
    [
        ("net.yaml", "wrong.yaml", 1, "unknown-field"),
        ("wrong.yaml", "net.yaml", 1, "unknown-field"),
        ("net.yaml", "missing.yaml", 2, "file-not-found"),
    ],
)
def test_diff_of_what_is_no_spec(
    run: Shell, before: str, after: str, status: int, code: str
) -> None:
    found = run("diff", before, after)
    assert (found.status, found.out) == (status, "")
    assert f"error[{code}]" in found.err


def test_diff_with_parameters(run: Shell) -> None:
    text = SPEC.replace("filters: 2", "filters: $width").replace(
        "layers:", "parameters: {width: 2}\nlayers:"
    )
    Path("wide.yaml").write_text(text)
    Path("same.yaml").write_text(text.replace("width: 2", "width: 3"))
    assert run("diff", "wide.yaml", "same.yaml").status == 1
    assert run("diff", "wide.yaml", "same.yaml", "-p", "width=4").status == 0
    unknown = run("diff", "wide.yaml", "net.yaml", "-p", "width=4")
    assert (unknown.status, "error[unknown-parameter]" in unknown.err) == (2, True)


def test_explain(run: Shell) -> None:
    everything, one = run("explain", "net.yaml"), run("explain", "net.yaml", "conv1")
    assert everything.status == one.status == 0
    assert "conv1" in everything.out
    assert "fc" in everything.out
    assert "conv1" in one.out
    wrong = run("explain", "net.yaml", "conv2")
    assert "did you mean `conv1`?" in wrong.err


def test_expand_is_a_spec_of_the_same_network(run: Shell) -> None:
    result = run("expand", "net.yaml")
    assert result.status == 0
    Path("full.yaml").write_text(result.out)
    again = run("expand", "full.yaml")
    assert again.out == result.out
    assert cnnspec.emit("full.yaml", "torch").text == cnnspec.emit("net.yaml", "torch").text


def test_ops(run: Shell) -> None:
    table = run("ops")
    assert table.status == 0
    assert table.out.splitlines()[0].split() == ["op", "numpy", "torch", "keras"]
    found = json.loads(run("ops", "--format", "json").out)
    assert found["conv"] == {"numpy": None, "torch": None, "keras": None}
    assert "| conv | yes | yes | yes |" in run("ops", "--format", "markdown").out


def test_schema_accepts_specs(run: Shell) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    import yaml

    schema = json.loads(run("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(SPEC), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(WRONG), schema)


def test_new(run: Shell) -> None:
    result = run("new", "first.yaml")
    assert (result.status, result.out) == (0, "")
    text = Path("first.yaml").read_text()
    assert run("new").out == text
    assert text.startswith("#") or "#" in text
    assert run("validate", "first.yaml", "--strict").status == 0

    Path("first.yaml").write_text("mine")
    result = run("new", "first.yaml")
    assert result.status == 2
    assert "error[file-exists]" in result.err
    assert Path("first.yaml").read_text() == "mine"
    assert run("new", "first.yaml", "--force").status == 0
    assert Path("first.yaml").read_text() == text


# --- compile -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "torch", "keras"])
def test_compile(run: Shell, backend: str) -> None:
    result = run("compile", "net.yaml", "--backend", backend)
    assert (result.status, result.err) == (0, "")
    assert result.out == cnnspec.emit("net.yaml", backend).text
    written = run("compile", "net.yaml", "-b", backend, "-o", "net.py")
    assert (written.status, written.out) == (0, "")
    assert Path("net.py").read_text() == result.out


def test_compile_does_not_overwrite(run: Shell) -> None:
    Path("net.py").write_text("mine")
    result = run("compile", "net.yaml", "-b", "torch", "-o", "net.py")
    assert result.status == 2
    assert "error[file-exists]" in result.err
    assert Path("net.py").read_text() == "mine"
    assert run("compile", "net.yaml", "-b", "torch", "-o", "net.py", "--force").status == 0
    assert "class Small" in Path("net.py").read_text()


def test_compile_check(run: Shell) -> None:
    check = ("compile", "net.yaml", "-b", "torch", "-o", "net.py", "--check")
    result = run(*check)
    assert (result.status, os.path.exists("net.py")) == (1, False)
    assert "there is no file `net.py` yet" in result.err
    run("compile", "net.yaml", "-b", "torch", "-o", "net.py")
    assert run(*check) == (0, "", "")
    edited = Path("net.py").read_text().replace("nn.Conv2d(1, 2, 3)", "nn.Conv2d(1, 2, 5)")
    Path("net.py").write_text(edited)
    result = run(*check)
    assert result.status == 1
    code = "file-differs"
    assert f"error[{code}]" in result.err
    assert "nn.Conv2d(1, 2, 5)" in result.err
    lines = result.out.splitlines()
    assert lines[:2] == ["--- net.py", "+++ net.py (compiled)"]
    assert "-        self.conv1 = nn.Conv2d(1, 2, 5)" in lines
    assert "+        self.conv1 = nn.Conv2d(1, 2, 3)" in lines
    assert Path("net.py").read_text() == edited
    Path("net.py").write_bytes(b"\xff\xfe\x00")
    result = run(*check)
    assert (result.status, result.out) == (1, "")
    assert "byte 0 is the first that differs" in result.err
    assert run("compile", "net.yaml", "-b", "torch", "-o", ".", "--check").status == 2


def test_compile_reproducible(run: Shell) -> None:
    Path("net.yaml").write_text(SPEC.replace("relu", "dropout"))
    plain = run("compile", "net.yaml", "-b", "torch").out
    counted = run("compile", "net.yaml", "-b", "torch", "--reproducible").out
    assert "nn.Dropout" in plain
    assert counted != plain
    assert counted == cnnspec.emit("net.yaml", "torch", reproducible=True).text


def test_compile_reports_the_missing_directory(run: Shell) -> None:
    result = run("compile", "net.yaml", "-b", "torch", "-o", "there/is/none.py")
    assert result.status == 2
    assert "there is no directory `there/is`" in result.err


@pytest.mark.parametrize(
    ("backend", "framework"), [("numpy", "numpy"), ("torch", "torch"), ("keras", "tensorflow")]
)
def test_compile_with_weights(run: Shell, backend: str, framework: str) -> None:
    run("init-weights", "net.yaml", "-o", "trained.safetensors")
    options = ("-b", backend, "--weights", "trained.safetensors")
    result = run("compile", "net.yaml", *options, "-o", "out.py")
    assert result.status == 0, result.err
    assert Path("out.safetensors").read_bytes() == Path("trained.safetensors").read_bytes()

    again = run("compile", "net.yaml", *options, "-o", "out.py")
    assert (again.status, "error[file-exists]" in again.err) == (2, True)
    assert run("compile", "net.yaml", *options, "-o", "trained.py").status == 0  # already beside it

    # What it says is what works.
    pytest.importorskip(framework)
    lines = result.err.partition("to load them:\n")[2].splitlines()
    code = "\n".join(line.removeprefix("  ") for line in lines)
    code += "\nsave = getattr(model, 'save_weights', None)\n"
    if backend == "keras":
        code += "from out import save_weights\nsave = lambda path: save_weights(model, path)\n"
    code += "save('again.safetensors')\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True)
    graph = cnnspec.load("net.yaml")
    expected = cnnspec.initial_weights(graph)
    for name, value in cnnspec.read_weights("again.safetensors", graph).items():
        assert np.array_equal(value.astype(np.float32), expected[name].astype(np.float32))


def test_how_to_load_weights_where_the_file_is_no_module(run: Shell) -> None:
    run("init-weights", "net.yaml", "-o", "w.safetensors")
    result = run("compile", "net.yaml", "-b", "torch", "--weights", "w.safetensors", "-o", "a-b.py")
    assert "  # in a-b.py:\n\n  model = Small()\n" in result.err
    assert "import" not in result.err


def test_compile_with_weights_of_another_network(run: Shell) -> None:
    run("init-weights", "net.yaml", "-o", "w.safetensors")
    Path("wide.yaml").write_text(SPEC.replace("filters: 2", "filters: 3"))
    result = run(
        "compile", "wide.yaml", "-b", "torch", "-o", "out.py", "--weights", "w.safetensors"
    )
    assert result.status == 1
    assert "error[weight-shape]" in result.err
    assert not Path("out.py").exists()
    missing = run("compile", "net.yaml", "-b", "torch", "-o", "out.py", "--weights", "none")
    assert (missing.status, Path("out.py").exists()) == (2, False)


# --- init-weights ------------------------------------------------------------------------------


def test_init_weights(run: Shell) -> None:
    assert run("init-weights", "net.yaml", "-o", "a").status == 0
    assert run("init-weights", "net.yaml", "-o", "b", "--seed", "1").status == 0
    graph = cnnspec.load("net.yaml")
    for file, seed in (("a", 0), ("b", 1)):
        found = cnnspec.read_weights(file, graph)
        expected = cnnspec.initial_weights(graph, seed=seed)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    before = Path("a").read_bytes()
    assert run("init-weights", "net.yaml", "-o", "a", "--seed", "2").status == 2
    assert Path("a").read_bytes() == before


# --- check and train: what they are asked for; their own tests are elsewhere ---------------------


def test_check_passes_its_options_on(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def command(specs: list[str], **options: Any) -> int:
        asked.update(options, specs=specs)
        options["out"]("the report")
        return 1

    monkeypatch.setattr(import_module("cnnspec.check"), "command", command)
    assert run("check", "net.yaml", "wrong.yaml") == (1, "the report\n", "")
    for name in ("out", "say"):
        assert callable(asked.pop(name))
    assert asked == {
        "optimize": None,
        "specs": ["net.yaml", "wrong.yaml"],
        "backends": ("numpy", "torch", "keras"),
        "form": "text",
        "dtype": None,
        "seed": None,
        "steps": None,
        "inputs": None,
        "save": None,
        "sources": (),
        "parameters": {},
        "reduce": False,
        "graph": False,
        "jobs": len(os.sched_getaffinity(0)),
        "in_process": False,
        "self_test": None,
        "minimize": None,
        "layers": "exact",
        "force": False,
        "outputs": [],
        "cache": None,
        "weights": None,
        "device": "cpu",
        "timeout": 600.0,
        "color": False,
    }
    options = (
        "--backends numpy,torch --format json --dtype float32 --seed 3 --steps 0 --inputs i.npz "
        "--save out --source torch=a.py:Net --source keras=dir=x/b.py --in-process --force "
        "--reduce --graph --jobs 3 -p width=4 --format junit --output a.json --cache-dir kept "
        "--weights w.safetensors --device cuda --timeout 9 --self-test --faults 7 "
        "--minimize case --native"
    )
    assert run("check", "net.yaml", *options.split(" ")).status == 1
    del asked["out"], asked["say"]
    assert asked == {
        "optimize": None,
        "specs": ["net.yaml"],
        "backends": ("numpy", "torch"),
        "form": "junit",
        "dtype": "float32",
        "seed": 3,
        "steps": 0,
        "inputs": "i.npz",
        "save": "out",
        "sources": (("torch", "a.py", "Net"), ("keras", "dir=x/b.py", None)),
        "parameters": {"width": Written("4")},
        "reduce": True,
        "graph": True,
        "jobs": 3,
        "in_process": True,
        "self_test": 7,
        "minimize": "case",
        "layers": "native",
        "force": True,
        "outputs": [("json", "a.json")],
        "cache": "kept",
        "weights": "w.safetensors",
        "device": "cuda",
        "timeout": 9.0,
        "color": False,
    }


def test_train_passes_its_options_on(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def command(spec: str, **options: Any) -> int:
        asked.update(options, spec=spec)
        return 0

    monkeypatch.setattr(import_module("cnnspec.train"), "command", command)
    options = "-b torch --data digits -o d --dtype float64 --epochs 3 --seed 9 --force"
    assert run("train", "net.yaml", *options.split(" ")) == (0, "", "")
    del asked["out"], asked["say"]
    assert asked == {
        "spec": "net.yaml",
        "devices": 1,
        "backend": "torch",
        "data": "digits",
        "directory": "d",
        "dtype": "float64",
        "epochs": 3,
        "seed": 9,
        "force": True,
        "quiet": False,
        "parameters": (),
        "resume": False,
        "checkpoint_every": None,
        "device": "cpu",
        "workers": 0,
        "tuning": Tuning(),
        "native_randomness": False,
        "fit": False,
    }
    assert run("train", "net.yaml", "-b", "numpy").status == 0
    assert (asked["dtype"], asked["epochs"], asked["directory"]) == ("float64", None, None)
    assert (
        run("train", "net.yaml", "-b", "numpy", "--resume", "--checkpoint-every", "7", "-q").status
        == 0
    )
    assert (asked["resume"], asked["checkpoint_every"], asked["quiet"]) == (True, 7, True)
    assert run("train", "net.yaml", "-b", "numpy", "--resume", "--force").status == 2


WITHOUT_FRAMEWORKS = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "tensorflow", "keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
from cnnspec.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("backend", "extra"), [("torch", "torch"), ("keras", "tensorflow")])
@pytest.mark.parametrize("command", ["train -b {}", "check --backends numpy,{} --in-process"])
def test_a_missing_framework_says_which_extra(
    digits: Path, tmp_path: Path, command: str, backend: str, extra: str
) -> None:
    name, *options = command.format(backend).split(" ")
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_FRAMEWORKS, name, str(digits), *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    said = child.stdout + child.stderr
    assert child.returncode == 2, said
    assert f"pip install 'cnnspec[{extra}]'" in said
    assert "Traceback" not in said


def test_check_agrees(run: Shell) -> None:
    pytest.importorskip("torch")
    options = ("--backends", "numpy,torch", "--in-process", "--format", "json")
    result = run("check", "net.yaml", *options)
    assert result.status == 0, result.out
    assert json.loads(result.out)["status"] == "agree"
    text = run("compile", "net.yaml", "-b", "torch").out
    Path("edited.py").write_text(text.replace("F.relu(x)", "F.relu(x) * 1.01"))
    result = run("check", "net.yaml", *options, "--source", "torch=edited.py")
    assert result.status == 1, result.out
    assert json.loads(result.out)["status"] == "disagree"


# --- the process -------------------------------------------------------------------------------


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cnnspec", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_as_a_process(run: Shell) -> None:
    assert process("validate", "net.yaml").returncode == 0
    assert process("validate", "wrong.yaml").returncode == 1
    assert process("validate", "missing.yaml").returncode == 2
    assert process("nonsense").returncode == 2


def test_interrupt(run: Shell) -> None:
    os.mkfifo("slow.yaml")
    child = subprocess.Popen(
        [sys.executable, "-m", "cnnspec", "validate", "slow.yaml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Opening it waits for the child; as nothing is written, the child reads until the signal.
    with open("slow.yaml", "w"):
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "Traceback" not in out + err


def test_the_reader_may_leave(run: Shell) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    child = subprocess.run(
        [sys.executable, "-m", "cnnspec", "schema"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert child.stderr == ""


def test_a_full_disk(run: Shell) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        child = subprocess.run(
            [sys.executable, "-m", "cnnspec", "summary", "net.yaml"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert child.returncode == 2
    assert "the standard output cannot be written: no space left on device" in child.stderr
    assert "Traceback" not in child.stderr


def test_a_bug_keeps_its_traceback(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cnnspec.cli.validating.read", broken)
    with pytest.raises(ZeroDivisionError):
        main(["validate", "net.yaml"])


@pytest.mark.parametrize(
    ("variables", "terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colours(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], terminal: bool, expected: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert colored(sys.stderr) is expected


def test_colours_reach_the_terminal_only(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31m" in run("validate", "wrong.yaml").err
    assert "\x1b" not in run("validate", "wrong.yaml", "--format", "json").out
