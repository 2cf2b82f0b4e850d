"""The GitHub action, the pre-commit hooks and docs/ci.md: every option and name in them exists."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cnnspec.check.formats import FORMATS
from cnnspec.cli import main
from cnnspec.cli.commands import app
from cnnspec.config import Config, read_config
from cnnspec.quantities import DEFAULT_BACKENDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined] # of a group


def load(text: str) -> Any:
    return yaml.safe_load(text)


ACTION = load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


def options(command: str) -> set[str]:
    return {name for p in COMMANDS[command].params for name in (*p.opts, *p.secondary_opts)}


def check_line(line: str) -> None:
    """A command line of ours has a command and options that exist."""
    program, command, *rest = shlex.split(line, comments=True)
    assert program == "cnnspec"
    assert command in COMMANDS, line
    words = [word for word in rest if word.startswith("-") and word != "--"]
    assert set(words) <= options(command), line
    for before, word in itertools.pairwise(rest):
        if before == "--format" and command == "check":
            assert word in FORMATS


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)


def lines_of_ours(text: str) -> list[str]:
    return re.findall(r"(?m)^\s*(?:- )?(?:run: |entry: )?(cnnspec [a-z-]+ .*)$", text)


def test_commands_of_the_page_exist() -> None:
    lines = [line for text in (*blocks("sh"), *blocks("yaml")) for line in lines_of_ours(text)]
    assert len(lines) >= 7
    for line in lines:
        check_line(line.split(" >")[0])
    for line in lines_of_ours("\n".join(blocks("sh", README))):
        if line.startswith("cnnspec check"):
            check_line(line)


def test_options_of_the_page_exist() -> None:
    known = {name for command in COMMANDS for name in options(command)}
    pytest_own = {"--cnnspec-specs", "--dist"}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= known | pytest_own


def test_settings_of_the_page_are_all_there_are(tmp_path: Path) -> None:
    (block,) = blocks("toml")
    file = tmp_path / "pyproject.toml"
    file.write_text(block)
    found = read_config(str(file))
    assert found is not None
    assert {line.split(" =")[0] for line in block.splitlines()[1:]} == set(Config.__slots__)


def test_the_workflow_uses_what_the_action_has() -> None:
    workflow, hooks = (load(text) for text in blocks("yaml"))
    steps = workflow["jobs"]["agree"]["steps"]
    (step,) = (step for step in steps if "cnnspec@" in step.get("uses", ""))
    assert set(step["with"]) <= set(ACTION["inputs"])
    words = shlex.split(step["with"]["args"])
    assert {word for word in words if word.startswith("--")} <= options("check")
    assert set(step["with"]["backends"].split(",")) == set(DEFAULT_BACKENDS)
    assert workflow["permissions"]["security-events"] == "write"
    (repository,) = hooks["repos"]
    assert [hook["id"] for hook in repository["hooks"]] == [hook["id"] for hook in HOOKS]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_hooks_run_commands_that_exist(hook: dict[str, Any]) -> None:
    assert set(hook) <= {"id", "name", "description", "entry", "language", "files",
                         "additional_dependencies", "require_serial", "stages",
                         "pass_filenames"}  # fmt: skip
    assert hook["language"] == "python"
    check_line(hook["entry"])
    if "files" in hook:
        assert re.search(hook["files"], "specs/deep/net.yaml")
        assert not re.search(hook["files"], "other/net.yaml")


# --- the action ------------------------------------------------------------------------------


def test_inputs_of_the_action_are_declared_and_used() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(ACTION["inputs"])
    assert all({"description", "default"} <= set(each) for each in ACTION["inputs"].values())
    for step in ACTION["runs"]["steps"]:
        if "run" in step:
            assert "${{" not in step["run"]  # an input would become a part of the script
            assert step["shell"] == "bash"


STUB = """#!/bin/sh
printf '%s\\n' "$@" > arguments.txt
for word in "$@"; do
  case "$word" in *.md) echo "## a table" > "$word" ;; esac
done
exit 1
"""


@pytest.mark.parametrize("junit", ["", "out file.xml"])
def test_the_action_passes_everything_on(tmp_path: Path, junit: str) -> None:
    (step,) = (step for step in ACTION["runs"]["steps"] if step.get("id") == "check")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "cnnspec").write_text(STUB)
    (programs / "cnnspec").chmod(0o755)
    process = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=tmp_path,
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "SPECS": "specs more/net.yaml",
            "BACKENDS": "numpy,torch",
            "ARGS": "--reduce --jobs 2",
            "JUNIT": junit,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1, process.stderr  # that of the check
    words = (tmp_path / "arguments.txt").read_text().splitlines()
    assert words[:3] == ["check", "--backends", "numpy,torch"]
    assert words[-6:] == ["--reduce", "--jobs", "2", "--", "specs", "more/net.yaml"]
    assert {word for word in words if word.startswith("--") and word != "--"} <= options("check")
    # As many forms as files, and the last one is printed.
    forms = [b for a, b in itertools.pairwise(words) if a == "--format"]
    files = [b for a, b in itertools.pairwise(words) if a == "--output"]
    assert forms == ["sarif", "markdown", *(["junit"] if junit else []), "github"]
    assert len(files) == len(forms) - 1
    assert (junit in files) is bool(junit)
    assert (tmp_path / "summary").read_text() == "## a table\n"
    assert (tmp_path / "output").read_text() == f"sarif-file={files[0]}\n"


# --- compile --check -------------------------------------------------------------------------

SPEC = "cnnspec: 1\nname: net\ninput: [4]\nlayers: [tanh, {dense: {units: 3}}, dropout]\n"


@pytest.mark.parametrize(
    "more",
    [(), ("--reproducible",), ("--map", "net.json"), ("--weights", "w.safetensors")],
    ids=lambda more: " ".join(more) or "plain",
)
@pytest.mark.parametrize("backend", DEFAULT_BACKENDS)
def test_committed_files_are_compared_byte_for_byte(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backend: str,
    more: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(SPEC)
    assert main(["init-weights", "net.yaml", "-o", "w.safetensors"]) == 0
    command = ["compile", "net.yaml", "-b", backend, "-o", "net.py", *more]
    before = set(tmp_path.iterdir())
    assert main([*command, "--check"]) == 1  # nothing is there yet
    assert set(tmp_path.iterdir()) == before
    assert main(command) == 0
    written = sorted(set(tmp_path.iterdir()) - before)
    assert len(written) == (2 if {"--map", "--weights"} & set(more) else 1)
    capsys.readouterr()
    assert main([*command, "--check"]) == 0
    assert capsys.readouterr() == ("", "")
    for file in written:
        good = file.read_bytes()
        for bad in (good + b"\n", good[:-1], good.replace(b"\n", b"\r\n", 1)):
            if bad == good:
                continue
            file.write_bytes(bad)
            assert main([*command, "--check"]) == 1
            said = capsys.readouterr()
            assert f"error[file-differs]: `{file.name}`" in said.err
            assert file.read_bytes() == bad
            if file.suffix != ".safetensors":
                assert said.out.startswith(f"--- {file.name}\n+++ {file.name} (compiled)\n@@")
        file.write_bytes(good)


def test_a_diff_ends_and_shows_no_control_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(SPEC)
    Path("net.py").write_text("\x1b[2J\n" * 5000)
    assert main(["compile", "net.yaml", "-b", "torch", "-o", "net.py", "--check"]) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "-\\x1b[2J" in said.out
    assert said.out.endswith("... and more\n")
    assert len(said.out.splitlines()) < 500
