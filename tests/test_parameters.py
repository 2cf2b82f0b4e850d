from __future__ import annotations

import json
from pathlib import Path

import pytest

import cnnspec
from cnnspec.cli import main
from cnnspec.parameters import Written, written

HEAD = "cnnspec: 1\ninput: [4, 8, 6]\n"
PARAMETERS = (
    HEAD + "parameters: {n: 2, rate: 0.5, on: true, act: valid, ks: [1, 1], any: 3}\nlayers:\n"
    "- conv: {name: c, repeat: $n, filters: $any, kernel: $ks, padding: $act, when: $on}\n"
    "- dropout: {p: $rate}\n"
)


def test_parameters_from_python() -> None:
    found = cnnspec.load(PARAMETERS, parameters={"n": 1, "rate": 0, "ks": [3, 1], "act": "same"})
    assert [node.id for node in found.nodes] == ["c.0", "dropout1"]
    assert found.nodes[0].op.fields()["kernel"] == (3, 1)
    assert repr(found.nodes[1].op.fields()["p"]) == "0.0"
    assert len(cnnspec.load(PARAMETERS).nodes) == 3


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"m": 1}, "unknown-parameter", "no parameter `m`"),
        ({"n": 1.0}, "bad-parameter", "`n` is a whole number, and it is given a number"),
        ({"n": True}, "bad-parameter", "given true or false"),
        ({"on": 1}, "bad-parameter", "`on` is true or false"),
        ({"act": 1}, "bad-parameter", "`act` is text"),
        ({"ks": 1}, "bad-parameter", "`ks` is a list"),
        ({"rate": "x"}, "bad-parameter", "`rate` is a number"),
        ({"rate": float("nan")}, "bad-parameter", "not finite"),
        ({"n": 2**53 + 1}, "bad-parameter", "beyond 2\\^53"),
        ({"ks": [[1]]}, "bad-parameter", "a number, true or false"),
        ({"n": None}, "bad-parameter", "a number, true or false"),
    ],
)
def test_bad_parameters_from_python(given: dict[str, object], code: str, message: str) -> None:
    with pytest.raises(cnnspec.SetupError, match=message) as caught:
        cnnspec.load(PARAMETERS, parameters=given)
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == [code]


@pytest.mark.parametrize(
    ("options", "units"),
    [
        ([], 6),
        (["-p", "n=5"], 10),
        (["-p", "n=5", "--parameter", "twice=false"], 5),
        (["-p", "n= 0x10 "], 32),
        (["-p", "wide=[7, 8]", "-p", "n=1"], 2),
    ],
)
def test_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], units: int
) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        "cnnspec: 1\ninput: [$(4 if mode == 'a' else 5)]\n"
        "parameters: {n: 3, twice: true, wide: [1], mode: a}\n"
        "layers: [{dense: {units: $(2 * n if twice else n), "
        "when: $(wide == wide)}}]\n"
    )
    assert main(["summary", str(path), "--format", "json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][-1]["shape"] == [units]


@pytest.mark.parametrize(
    "command",
    ["validate", "summary", "explain", "expand", "compile -b torch", "init-weights -o w", "diff"],
)
@pytest.mark.parametrize(
    ("given", "code"),
    [
        (["m=1"], "unknown-parameter"),
        (["n=wide"], "bad-parameter"),
        (["n=1.5"], "bad-parameter"),
        (["n="], "bad-parameter"),
        (["n=[1"], "bad-parameter"),
        (["n"], "bad-parameter"),
        (["=1"], "bad-parameter"),
        (["n=1", "n=2"], "bad-parameter"),
        (["n={a: 1}"], "bad-parameter"),
    ],
)
def test_bad_options(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    given: list[str],
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(
        "cnnspec: 1\ninput: [4]\nparameters: {n: 3}\nlayers: [{dense: {units: $n}}]\n"
    )
    specs = ["net.yaml"] * (2 if command == "diff" else 1)
    name, *rest = command.split()
    options = [part for text in given for part in ("-p", text)]
    assert main([name, *specs, *rest, *options]) == 2
    assert f"error[{code}]" in capsys.readouterr().err


def test_text_stays_text() -> None:
    assert written(["a=1", "b=x=y"]) == {"a": Written("1"), "b": Written("x=y")}
    text = "cnnspec: 1\ninput: [3]\nparameters: {act: r}\nlayers: [{relu: {name: layer$act}}]\n"
    found = cnnspec.load(text, parameters={"act": Written("1")})
    assert found.nodes[0].id == "layer1"
    found = cnnspec.load(text, parameters={"act": Written("true")})
    assert found.nodes[0].id == "layertrue"


def test_a_required_parameter_takes_any_type() -> None:
    text = "cnnspec: 1\ninput: [3]\nparameters: {n: required}\nlayers: [{dense: {units: $n}}]\n"
    assert cnnspec.load(text, parameters={"n": Written("5")}).nodes[0].shape == (5,)
    assert cnnspec.load(text, parameters={"n": 6}).nodes[0].shape == (6,)


def test_train_takes_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        "cnnspec: 1\ninput: [1, 8, 8]\nparameters: {rate: 0.1, n: 3}\n"
        "layers: [flatten, {dense: {units: $n}}]\n"
        "train: {loss: cross_entropy, optimizer: {sgd: {lr: $rate}}, epochs: 1}\n"
    )
    options = ["-b", "numpy", "-o", str(tmp_path / "run"), "--data", "digits"]
    assert main(["train", str(path), *options, "-p", "n=10", "--epochs", "0"]) == 0
    assert main(["train", str(path), *options, "--epochs", "0", "--force"]) == 1
    assert "class-count" in capsys.readouterr().err
