from __future__ import annotations

import os
from pathlib import Path

import pytest

import cnnspec
from cnnspec.build import Built, build
from cnnspec.diagnostics import Diagnostic, SpecError
from cnnspec.document import parse, read
from cnnspec.faults import MOST_FAULTS
from cnnspec.include import MOST_FILES
from cnnspec.render import render
from cnnspec.schema import is_library, read_spec
from tests.spec_errors import place, unmark

LIBRARY = "cnnspec: 1\ndefine: {b: {layers: [relu]}}\n"
ROOT = "cnnspec: 1\ninput: [3]\ninclude: [%s]\nlayers: [%s]\n"


def made(folder: Path, files: dict[str, str]) -> Built:
    """The network of `net.yaml` among these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return build(read_spec(read(folder / "net.yaml")))


def refused(folder: Path, files: dict[str, str], code: str) -> Diagnostic:
    """The only fault of files, one of which has a mark at its place."""
    ((name, text),) = [(name, text) for name, text in files.items() if "@@" in text]
    clean, line, column = unmark(text)
    with pytest.raises(SpecError) as caught:
        made(folder, {**files, name: clean})
    (found,) = caught.value.diagnostics
    assert (found.code, place(found)) == (code, (line, column)), found
    assert found.primary is not None
    assert found.primary.span.source.name == os.fspath(folder / name)
    return found


def test_blocks_of_other_files(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        {
            "net.yaml": ROOT % ("blocks/a.yaml, shared.json", "a, {b: {name: x}}, c"),
            "blocks/a.yaml": "cnnspec: 1\ninclude: [deep/b.yaml, ../shared.json]\n"
            "define: {a: {layers: [b, c, {relu: {repeat: $times}}]}}\nparameters: {times: 2}\n",
            "blocks/deep/b.yaml": LIBRARY,
            "shared.json": '{"cnnspec": 1, "define": {"c": {"layers": ["tanh"]}}}',
        },
    ).graph
    assert [node.id for node in found.nodes] == [
        "a1.b1.relu1", "a1.c1.tanh1", "a1.relu1.0", "a1.relu1.1", "x.relu1", "c1.tanh1",
    ]  # fmt: skip
    origin = found.node("a1.b1.relu1").origin
    assert origin is not None
    places = [(span.source.name, span.line) for span in (origin.span, *origin.expanded)]
    assert places == [
        (os.fspath(tmp_path / "blocks/deep/b.yaml"), 2),
        (os.fspath(tmp_path / "blocks/a.yaml"), 3),
        (os.fspath(tmp_path / "net.yaml"), 4),
    ]


def test_parameters_of_other_files(tmp_path: Path) -> None:
    files = {
        "net.yaml": ROOT % ("a.yaml", "{dense: {units: $wide}}") + "parameters: {wide: $(2 * n)}\n",
        "a.yaml": "cnnspec: 1\nparameters: {n: 4}\n",
    }
    assert made(tmp_path, files).graph.nodes[0].shape == (8,)
    found = cnnspec.load(tmp_path / "net.yaml", parameters={"n": 5})
    assert found.nodes[0].shape == (10,)


def test_a_relative_name_of_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, {"net.yaml": ROOT % ("a.yaml", "b"), "a.yaml": LIBRARY})
    monkeypatch.chdir(tmp_path)
    found = build(read_spec(read("net.yaml"))).graph
    assert found.nodes[0].origin is not None
    assert found.nodes[0].origin.span.source.name == "a.yaml"
    os.mkdir("below")
    monkeypatch.chdir(tmp_path / "below")
    assert build(read_spec(read("../net.yaml"))).graph.nodes


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("@@../../etc/passwd", "include-outside"),
        ("@@../other.yaml", "include-outside"),
        ("@@/etc/passwd", "include-outside"),
        ("@@below/../../no.yaml", "include-outside"),
        ("@@outside.yaml", "include-outside"),
        ("@@folder/x.yaml", "include-outside"),
        ("@@..", "include-outside"),
        ("@@no.yaml", "include-missing"),
        ("@@no/no.yaml", "include-missing"),
        ("@@''", "include-missing"),
        ('@@"a\\0b"', "include-missing"),
        ("@@net.yaml", "include-cycle"),
        ("@@./net.yaml", "include-cycle"),
        ("@@again.yaml", "include-cycle"),
        ("@@below", "include-unreadable"),
        ("@@pipe.yaml", "include-unreadable"),
        ("@@3", "wrong-type"),
        ("@@[]", "wrong-type"),
    ],
)
def test_entries(tmp_path: Path, entry: str, code: str) -> None:
    home = tmp_path / "home"
    (home / "below").mkdir(parents=True)
    (tmp_path / "other.yaml").write_text(LIBRARY)
    (home / "outside.yaml").symlink_to(tmp_path / "other.yaml")
    (home / "folder").symlink_to(tmp_path)
    (home / "again.yaml").symlink_to(home / "net.yaml")
    os.mkfifo(home / "pipe.yaml")
    refused(home, {"net.yaml": ROOT % (entry, "relu")}, code)


def test_what_is_outside_is_not_touched(tmp_path: Path) -> None:
    """The message is the same whether the file exists or not."""
    (tmp_path / "there.yaml").write_text(LIBRARY)
    messages = []
    for name in ("there", "where"):
        files = {"net.yaml": ROOT % (f"@@../{name}.yaml", "relu")}
        found = refused(tmp_path / "home", files, "include-outside")
        messages.append(found.message.replace(name, ""))
    assert messages[0] == messages[1]


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:  # whoever may read everything, such as root, cannot be refused
        raise cnnspec.SetupError(Diagnostic("file-unreadable", f"`{name}` cannot be read: no"))

    monkeypatch.setattr("cnnspec.include.read", fails)
    (tmp_path / "a.yaml").write_text(LIBRARY)
    files = {"net.yaml": "cnnspec: 1\ninput: [3]\ninclude: [@@a.yaml]\nlayers: [relu]\n"}
    assert refused(tmp_path, files, "include-unreadable").notes


def test_cycles(tmp_path: Path) -> None:
    files = {
        "net.yaml": ROOT % ("a.yaml", "b"),
        "a.yaml": "cnnspec: 1\ninclude: [below/c.yaml]\n",
        "below/c.yaml": "cnnspec: 1\ninclude: [@@../a.yaml]\ndefine: {b: {layers: [relu]}}\n",
    }
    refused(tmp_path, files, "include-cycle")
    files["below/c.yaml"] = files["below/c.yaml"].replace("a.yaml", "net.yaml")
    refused(tmp_path, files, "include-cycle")


def test_a_file_counts_once(tmp_path: Path) -> None:
    text = "cnnspec: 1\ninclude: [c.yaml]\n"
    files = {
        "net.yaml": ROOT % ("a.yaml, d.yaml, c.yaml, ./c.yaml", "b"),
        "a.yaml": text,
        "d.yaml": text,
        "c.yaml": LIBRARY,
    }
    assert made(tmp_path, files).graph.nodes


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cnnspec: 1\n@@layers: [relu]\n", "unknown-key"),
        ("cnnspec: 1\n@@input: [3]\n", "unknown-key"),
        ("cnnspec: 1\n@@defin: {}\n", "unknown-key"),
        ("@@define: {b: {layers: [relu]}}\n", "missing-key"),
        ("cnnspec: @@2\n", "unknown-version"),
        ("@@[1]\n", "not-a-spec"),
        ("cnnspec: 1\ninclude: @@a.yaml\n", "wrong-type"),
        ("cnnspec: 1\ndefine: {b: {layers: [@@rel]}}\n", "unknown-op"),
        ("cnnspec: 1\ndefine: {b: {layers: [{relu: {repeat: $@@n}}]}}\n", "unknown-parameter"),
        ("cnnspec: 1\ndefine: {b: {layers: [{relu: {expect: @@[4]}}]}}\n", "unexpected-shape"),
        ("cnnspec: 1\ndefine: {@@relu: {layers: [relu]}}\n", "block-is-op"),
        ("cnnspec: 1\ndefine: [\n@@", "yaml-syntax"),
    ],
)
def test_faults_inside(tmp_path: Path, text: str, code: str) -> None:
    head = "define: {b: {layers: [relu]}}\n" if "{b:" not in text else ""
    files = {"net.yaml": ROOT % ("a.yaml", "b") + head, "a.yaml": text}
    found = refused(tmp_path, files, code)
    shown = render([found])
    if code == "unexpected-shape":
        assert "used here" in shown
        assert "net.yaml:4:10" in shown
    if code == "yaml-syntax":
        assert "included here" in shown
        assert "net.yaml:3:11" in shown


@pytest.mark.parametrize(
    ("text", "more", "what"),
    [
        ("define: {b: {layers: [relu]}}\n", "define: {@@b: {layers: [tanh]}}\n", "block `b`"),
        ("parameters: {n: 1}\n", "parameters: {@@n: 1}\n", "parameter `n`"),
    ],
)
def test_defined_twice(tmp_path: Path, text: str, more: str, what: str) -> None:
    files = {"net.yaml": ROOT % ("a.yaml", "relu") + more, "a.yaml": "cnnspec: 1\n" + text}
    found = refused(tmp_path, files, "defined-twice")
    assert found.message == f"{what} is defined twice"
    (other,) = found.secondary
    assert (other.span.source.name, other.span.line) == (os.fspath(tmp_path / "a.yaml"), 2)


def test_faults_of_several_files_come_file_by_file(tmp_path: Path) -> None:
    files = {
        "net.yaml": ROOT % ("a.yaml, c.yaml", "rel, tan"),
        "a.yaml": "cnnspec: 1\ndefine: {b: {layers: [a, b1]}}\n",
        "c.yaml": "cnnspec: 1\ndefine: {d: {layers: [e, f]}}\n",
    }
    with pytest.raises(SpecError) as caught:
        made(tmp_path, files)
    places = [
        (os.path.basename(d.primary.span.source.name), d.primary.span.column)
        for d in caught.value.diagnostics
        if d.primary is not None
    ]
    assert places == [
        ("net.yaml", 10), ("net.yaml", 15), ("a.yaml", 23), ("a.yaml", 26),
        ("c.yaml", 23), ("c.yaml", 26),
    ]  # fmt: skip


def test_too_many_files(tmp_path: Path) -> None:
    def library(i: int) -> str:
        mark = "@@" if i == MOST_FILES - 1 else ""
        return f"cnnspec: 1\ninclude: [{mark}a{i + 1}.yaml]\n"

    files = {f"a{i}.yaml": library(i) for i in range(MOST_FILES)}
    files[f"a{MOST_FILES}.yaml"] = LIBRARY
    files["net.yaml"] = ROOT % ("a0.yaml", "relu")
    refused(tmp_path, files, "include-limit")


def test_too_large_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnspec.include.MAX_BYTES", 100)
    files = {
        "net.yaml": ROOT % ("a.yaml, @@c.yaml", "relu"),
        "a.yaml": "cnnspec: 1\n",
        "c.yaml": "cnnspec: 1\n" + "# no\n" * 20,
    }
    refused(tmp_path, files, "include-limit")


def test_many_faults_in_included_files_end(tmp_path: Path) -> None:
    names = [f"a{i}.yaml" for i in range(MOST_FILES)]
    files = dict.fromkeys(names, "cnnspec: 1\n" + "a: 1\na: 1\n" * 60)
    with pytest.raises(SpecError) as caught:
        made(tmp_path, {**files, "net.yaml": ROOT % (", ".join(names), "relu")})
    assert len(caught.value.diagnostics) < 3 * MOST_FAULTS


def test_a_library_is_no_network(tmp_path: Path) -> None:
    found = refused(tmp_path, {"net.yaml": LIBRARY.replace("define", "@@define")}, "is-library")
    assert "include:" in found.help


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (LIBRARY, True),
        ("cnnspec: 1\nparameters: {n: 1}\n", True),
        ("cnnspec: 1\ninclude: [a.yaml]\n", True),
        ("cnnspec: 1\ninput: [3]\nlayers: [relu]\n", False),
        ("cnnspec: 1\ninput: [3]\ndefine: {}\n", False),
        ("define: {}\n", False),
        ("[1]\n", False),
    ],
)
def test_libraries_are_recognised(text: str, wanted: bool) -> None:
    assert is_library(parse(text, "x")) is wanted


def test_a_text_has_no_directory() -> None:
    with pytest.raises(SpecError) as caught:
        cnnspec.load(ROOT % ("a.yaml", "relu"))
    (found,) = caught.value.diagnostics
    assert (found.code, place(found)) == ("include-of-text", (3, 1))
