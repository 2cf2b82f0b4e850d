"""Ops and back ends of other packages: tests/plugin/ is installed, and used from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest

from cnnspec import plugins
from cnnspec.api import read
from cnnspec.backends import BUILT_IN, get
from cnnspec.backends.columns import Column, Spelling
from cnnspec.backends.program import ALLOWED_IMPORTS, AuditError, audit
from cnnspec.diagnostics import SetupError
from cnnspec.initializers import initial_weights
from cnnspec.ops.activation import Relu, Tanh
from cnnspec.ops.initializer import Zeros
from tests.spec_errors import place, unmark

HERE = Path(__file__).parent
PLUGIN = HERE / "plugin"
BACKENDS = "numpy,torch,keras,program"

NET = """\
cnnspec: 1
name: waves
input: [3, 9, 8]
define:
  wave:
    parameters: {scale: 1.0}
    layers:
      - conv: {filters: 4, kernel: 3, padding: 1}
      - snake: {scale: $scale, alpha_init: {constant: {value: 0.3}}}
layers:
  - conv: {filters: 4, kernel: 3}
  - snake
  - wave: {name: waves, repeat: 2, last: {scale: 0.5}}
  - sequence:
      name: tail
      layers:
        - snake: {alpha_init: {uniform: {low: 0.5, high: 1.0}}}
        - global_avg_pool
        - flatten
        - dense: {units: 2}
train: {loss: mean_squared_error, optimizer: {sgd: {lr: 0.0001, momentum: 0.9}}}
"""
PLAIN = "cnnspec: 1\nname: plain\ninput: [3, 9, 8]\nlayers: [relu]\n"
SNAKE = "cnnspec: 1\nname: net\ninput: [3, 9, 8]\nlayers:\n- relu\n- snake\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package has been installed into, from a copy of its source."""
    place = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, place / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, place / "site", place / "source"],
        check=True,
        timeout=300,
    )
    return place / "site"


def package(place: Path, name: str, entries: Mapping[str, str], text: str = "") -> Path:
    """An installed package of one module, as a folder on the path.

    Args:
        place: to make it in.
        name: of the package; the module has underscores instead.
        entries: group of entry points -> one entry.
        text: of the module.
    """
    site = place / name
    about = site / f"{name.replace('-', '_')}-0.5.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.5\n")
    lines = [f"[{group}]\n{entry}\n" for group, entry in entries.items()]
    (about / "entry_points.txt").write_text("\n".join(lines))
    (site / f"{name.replace('-', '_')}.py").write_text(text)
    return site


def python(
    *arguments: str, sites: tuple[Path, ...], place: Path
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(site) for site in sites)
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "PYTHONPATH": path},
        timeout=500,
        check=False,
    )


def cnnspec(
    *arguments: str, sites: tuple[Path, ...], place: Path, spec: str = SNAKE, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command beside `net.yaml`, with these packages installed."""
    (place / "net.yaml").write_text(spec)
    done = python("-m", "cnnspec", *arguments, sites=sites, place=place)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


# --- an op from outside ------------------------------------------------------------------------


def test_a_spec_with_it_is_valid(installed: Path, tmp_path: Path) -> None:
    cnnspec("validate", "net.yaml", sites=(installed,), place=tmp_path, spec=NET)
    done = cnnspec("validate", "net.yaml", sites=(), place=tmp_path, spec=NET, status=1)
    assert "error[unknown-op]: there is no op `snake`" in done.stderr


def test_its_fields_are_checked(installed: Path, tmp_path: Path) -> None:
    spec = SNAKE.replace("- snake", "- snake: {scale: 1, sacle: 2}")
    done = cnnspec("validate", "net.yaml", sites=(installed,), place=tmp_path, spec=spec, status=1)
    assert "error[unknown-field]" in done.stderr
    assert "did you mean `scale`?" in done.stderr


def test_its_name_is_suggested(installed: Path, tmp_path: Path) -> None:
    spec = SNAKE.replace("snake", "snkae")
    done = cnnspec("validate", "net.yaml", sites=(installed,), place=tmp_path, spec=spec, status=1)
    assert "did you mean `snake`?" in done.stderr


def test_the_summary_counts_its_parameters(installed: Path, tmp_path: Path) -> None:
    sites = (installed,)
    arguments = ("summary", "net.yaml", "--format", "json")
    done = cnnspec(*arguments, sites=sites, place=tmp_path, spec=NET)
    found = json.loads(done.stdout)
    assert found["trainable"] == 112 + 4 + 2 * (148 + 4) + 4 + 10


@pytest.mark.parametrize(
    ("backend", "held"),
    [
        ("numpy", "self.snake1 = Snake(4, scale)"),
        ("torch", "self.waves = nn.Sequential(Wave(), Wave(scale=0.5))"),
        ("keras", "x = Snake(scale, initializer=initializers.Constant(np.float64(0.3)), "),
        ("program", "self.snake1 = Snake(4, scale)"),
    ],
)
def test_a_file_carries_what_it_needs(
    backend: str, held: str, installed: Path, tmp_path: Path
) -> None:
    arguments = ("compile", "net.yaml", "--backend", backend)
    done = cnnspec(*arguments, sites=(installed,), place=tmp_path, spec=NET)
    assert done.stdout.count("class Snake(") == 1
    assert held in done.stdout
    assert "cnnspec" not in done.stdout


def test_all_back_ends_agree_on_it(installed: Path, tmp_path: Path) -> None:
    arguments = ("check", "net.yaml", "--backends", BACKENDS, "--format", "json")
    done = cnnspec(*arguments, sites=(installed,), place=tmp_path, spec=NET)
    assert json.loads(done.stdout)["status"] == "agree"


def test_the_matrix_has_it(installed: Path, tmp_path: Path) -> None:
    done = cnnspec("ops", "--format", "json", sites=(installed,), place=tmp_path)
    matrix = json.loads(done.stdout)
    assert matrix["snake"] == {"numpy": None, "torch": None, "keras": None, "program": None}
    assert matrix["maximum"]["program"] == "it is here to show a cell that says why not"
    assert matrix["maximum"]["torch"] is None


LOADED = """
import sys
from cnnspec.__main__ import main
sys.argv = ["cnnspec", {command!r}, "net.yaml", *{more!r}]
assert main() == 0
print("LOADED", *sorted(sys.modules))
"""


def modules(command: str, *more: str, site: Path, place: Path, spec: str) -> set[str]:
    (place / "net.yaml").write_text(spec)
    code = LOADED.format(command=command, more=more)
    done = python("-c", code, sites=(site,), place=place)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED ")[2].split())


def test_nothing_is_imported_before_it_is_used(installed: Path, tmp_path: Path) -> None:
    plain = modules("validate", site=installed, place=tmp_path, spec=PLAIN)
    assert not any(name.startswith("cnnspec_snake") for name in plain)
    used = modules("validate", site=installed, place=tmp_path, spec=NET)
    assert {name for name in used if name.startswith("cnnspec_snake")} == {
        "cnnspec_snake",
        "cnnspec_snake.op",
    }
    written = modules("compile", "-b", "torch", site=installed, place=tmp_path, spec=NET)
    assert {name for name in written if name.startswith("cnnspec_snake.")} == {
        "cnnspec_snake.op",
        "cnnspec_snake.torch_cell",
    }
    for found in (plain, used, written):
        assert not found & {"numpy", "torch", "keras", "hypothesis"}


def test_a_spec_of_built_in_ops_reads_no_entry_points(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(PLAIN)
    code = (
        "from cnnspec import plugins, api, backends\n"
        "graph = api.read('net.yaml').graph\n"
        "for name in backends.BUILT_IN: backends.get(name).emit(graph)\n"
        "print(plugins._entries.cache_info().misses, plugins._any.cache_info().misses)\n"
    )
    done = python("-c", code, sites=(installed,), place=tmp_path)
    assert done.stdout.split() == ["0", "0"], done.stderr


def test_an_installed_package_changes_no_text(installed: Path, tmp_path: Path) -> None:
    for backend in BUILT_IN:
        arguments = ("compile", "net.yaml", "-b", backend)
        without = cnnspec(*arguments, sites=(), place=tmp_path, spec=PLAIN).stdout
        # Its cells are imported by the first command, its helpers are of no use to the second.
        code = (
            "from cnnspec import api, backends\n"
            f"backend = backends.get({backend!r})\n"
            "backend.emit(api.read('snake.yaml').graph)\n"
            "print(backend.emit(api.read('net.yaml').graph).text, end='')\n"
        )
        (tmp_path / "snake.yaml").write_text(NET)
        done = python("-c", code, sites=(installed,), place=tmp_path)
        assert done.stdout == without, done.stderr


# --- a back end from outside -------------------------------------------------------------------


def test_a_program_does_what_the_session_does(installed: Path, tmp_path: Path) -> None:
    spec = PLAIN.replace("[relu]", "[{conv: {filters: 2, kernel: 3}}, relu]")
    options = ("compile", "net.yaml", "-b", "program", "-o", "net.py")
    cnnspec(*options, sites=(installed,), place=tmp_path, spec=spec)
    cnnspec("init-weights", "net.yaml", "-o", "w.safetensors", sites=(), place=tmp_path, spec=spec)
    x = np.random.default_rng(0).normal(size=(4, 3, 9, 8))
    np.savez(tmp_path / "x.npz", input=x)
    done = python("net.py", "w.safetensors", "x.npz", "y.npz", sites=(), place=tmp_path)
    assert done.returncode == 0, done.stderr
    graph = read(spec).graph
    session = get("numpy").open(get("numpy").emit(graph), dtype="float32")
    session.assign({n: v.astype(np.float32) for n, v in initial_weights(graph).items()})
    (wanted,) = session.forward({"input": x}).values()
    session.close()
    with np.load(tmp_path / "y.npz") as found:
        assert np.allclose(found["output"], wanted, rtol=1e-5, atol=1e-6)
        assert np.abs(wanted).max() > 0.1


def test_what_it_cannot_express_has_a_place(installed: Path, tmp_path: Path) -> None:
    spec = PLAIN.replace("layers: [relu]", "layers:\n- relu\n- maximum: {from: [input, relu1]}")
    options = ("compile", "net.yaml", "-b", "program")
    done = cnnspec(*options, sites=(installed,), place=tmp_path, spec=spec, status=1)
    assert "error[unsupported-op]: `maximum` is not supported by the program backend" in done.stderr
    assert "net.yaml:6:3" in done.stderr


def test_each_back_end_has_imports_of_its_own() -> None:
    own = {name: get(name).imports for name in BUILT_IN}
    assert frozenset().union(*own.values()) == ALLOWED_IMPORTS
    for name, framework in (("numpy", "scipy"), ("torch", "torch"), ("keras", "keras")):
        for other, imports in own.items():
            if other == name:
                audit(f"import {framework}", imports)
            else:
                with pytest.raises(AuditError, match=f"import of {framework}"):
                    audit(f"import {framework}", imports)


# --- the laws, as third parties run them -------------------------------------------------------

CHECK_OP = """
from cnnspec.testing import check_op
from cnnspec_snake.op import Snake
check_op(Snake, backends={backends!r}, examples={examples})
"""
CHECK_BACKEND = """
from cnnspec.testing import check_backend
check_backend("program", examples={examples})
"""


def test_the_op_keeps_its_laws(installed: Path, tmp_path: Path) -> None:
    code = CHECK_OP.format(backends=("numpy", "torch", "program"), examples=3)
    done = python("-c", code, sites=(installed,), place=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.nightly
def test_the_op_keeps_its_laws_in_keras(installed: Path, tmp_path: Path) -> None:
    code = CHECK_OP.format(backends=("numpy", "keras"), examples=2)
    done = python("-c", code, sites=(installed,), place=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.nightly
def test_the_back_end_keeps_its_laws(installed: Path, tmp_path: Path) -> None:
    done = python("-c", CHECK_BACKEND.format(examples=2), sites=(installed,), place=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def changed(installed: Path, place: Path, file: str, old: str, new: str) -> Path:
    """A copy of the package with one thing changed."""
    copy = place / "changed"
    shutil.copytree(installed, copy)
    path = copy / "cnnspec_snake" / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return copy


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("numpy_kernel.py", "np.sin(2 * alpha", "np.sin(alpha", "and differences give"),
        ("numpy_kernel.py", "(g * x * slope)", "(g * slope)", "and differences give"),
        ("torch_module.py", "self.scale * torch.sin", "torch.sin", "('disagree', "),
        ("torch_module.py", "torch.ones(channels)", "torch.zeros(channels)", "starts as Ones()"),
    ],
)
def test_a_wrong_op_breaks_them(
    file: str, old: str, new: str, says: str, installed: Path, tmp_path: Path
) -> None:
    site = changed(installed, tmp_path, file, old, new)
    code = f"from cnnspec.testing.laws import check_network\ncheck_network({NET!r}, ['torch'])"
    done = python("-c", code, sites=(site,), place=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr


def test_an_op_without_a_strategy_breaks_them(installed: Path, tmp_path: Path) -> None:
    site = changed(installed, tmp_path, "strategy.py", "@OPS(Snake)\n", "")
    done = python("-c", CHECK_OP.format(backends=(), examples=1), sites=(site,), place=tmp_path)
    assert done.returncode == 1
    assert "op Snake has no strategy" in done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("program.py", ' | {"sys"}', "", "import of sys"),
        ("session.py", "= ProgramBackend.imports", "= frozenset()", "import of contextvars"),
        ("program.py", "plain.text + main", "main + plain.text", "no expression at"),
        ("program.py", "text=plain.text + main", 'text=plain.text + f"# {id(plain)}"', "emissions"),
    ],
)
def test_a_wrong_back_end_breaks_them(
    file: str, old: str, new: str, says: str, installed: Path, tmp_path: Path
) -> None:
    site = changed(installed, tmp_path, file, old, new)
    code = (
        "from cnnspec.testing import laws\n"
        "backend = laws.get('program')\n"
        f"laws._check_text(backend, {NET!r})\n"
        f"laws._check_session(backend, {NET!r})\n"
    )
    done = python("-c", code, sites=(site,), place=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr


def test_a_back_end_without_cells_breaks_them(installed: Path, tmp_path: Path) -> None:
    site = changed(installed, tmp_path, "program.py", ", base=NUMPY.column", "")
    done = python("-c", CHECK_BACKEND.format(examples=1), sites=(site,), place=tmp_path)
    assert done.returncode == 1
    assert "program has no cell for" in done.stderr


# --- clashes, and packages that are broken -----------------------------------------------------


def test_two_packages_with_one_op(installed: Path, tmp_path: Path) -> None:
    other = package(tmp_path, "cobra", {"cnnspec.ops": "snake = cobra:Snake"})
    done = cnnspec("validate", "net.yaml", sites=(installed, other), place=tmp_path, status=2)
    both = (
        "error[plugin-clash]: op `snake` is defined by both `cnnspec-snake 1.2.0` and `cobra 0.5`"
    )
    assert both in done.stderr
    assert "--> net.yaml:6:3" in done.stderr
    assert (
        cnnspec("ops", sites=(installed, other), place=tmp_path, status=2).stderr.count(both) == 1
    )
    cnnspec("validate", "net.yaml", sites=(installed, other), place=tmp_path, spec=PLAIN)


def test_a_package_with_a_built_in_op(installed: Path, tmp_path: Path) -> None:
    other = package(tmp_path, "cobra", {"cnnspec.ops": "relu = cobra:Relu"})
    done = cnnspec("ops", sites=(installed, other), place=tmp_path, status=2)
    assert "op `relu` is defined by both `cnnspec` and `cobra 0.5`" in done.stderr
    cnnspec("validate", "net.yaml", sites=(installed, other), place=tmp_path)


def test_a_package_that_registers_what_it_does_not_say(installed: Path, tmp_path: Path) -> None:
    text = (
        "from cnnspec.ops.activation import Activation\nfrom cnnspec.ops.base import op\n"
        "@op('relu')\nclass Other(Activation):\n    'Again.'\n"
    )
    other = package(tmp_path, "cobra", {"cnnspec.ops": "hiss = cobra:Other"}, text)
    spec = SNAKE.replace("snake", "hiss")
    done = cnnspec("validate", "net.yaml", sites=(other,), place=tmp_path, spec=spec, status=2)
    assert "error[plugin-failed]: plug-in `hiss` of `cobra 0.5` cannot be used" in done.stderr
    assert "cnnspec.ops.activation.Relu and cobra.Other" in done.stderr


@pytest.mark.parametrize(
    ("value", "text", "says"),
    [
        ("cobra:Hiss", "import no_such_module", "No module named 'no_such_module'"),
        ("cobra:Hiss", "raise SystemError('later')", "SystemError: later"),
        ("cobra:Hiss", "class Hiss: pass", '`cobra:Hiss` is no op that `@op("hiss")` registers'),
        ("cobra:Missing", "", "has no attribute 'Missing'"),
        ("viper:Hiss", "", "No module named 'viper'"),
    ],
)
def test_a_broken_op_names_its_package(value: str, text: str, says: str, tmp_path: Path) -> None:
    site = package(tmp_path, "cobra", {"cnnspec.ops": f"hiss = {value}"}, text)
    spec = SNAKE.replace("snake", "hiss")
    done = cnnspec("validate", "net.yaml", sites=(site,), place=tmp_path, spec=spec, status=2)
    assert "error[plugin-failed]: plug-in `hiss` of `cobra 0.5` cannot be used: " in done.stderr
    assert says in done.stderr
    assert "--> net.yaml:6:3" in done.stderr
    assert "it is the entry point" in done.stderr
    assert says in cnnspec("ops", sites=(site,), place=tmp_path, status=2).stderr
    cnnspec("validate", "net.yaml", sites=(site,), place=tmp_path, spec=PLAIN)


def test_broken_cells_name_their_package(installed: Path, tmp_path: Path) -> None:
    site = package(tmp_path, "cobra", {"cnnspec.cells": "torch = cobra"}, "import no_such_module")
    options = ("compile", "net.yaml", "-b")
    done = cnnspec(*options, "torch", sites=(installed, site), place=tmp_path, status=2)
    assert "error[plugin-failed]: plug-in `torch` of `cobra 0.5` cannot be used: " in done.stderr
    assert "`cobra` of group `cnnspec.cells`" in done.stderr
    cnnspec(*options, "keras", sites=(installed, site), place=tmp_path)


def test_an_op_without_a_cell_is_unsupported(installed: Path, tmp_path: Path) -> None:
    site = changed(installed, tmp_path, "keras_cell.py", "@COLUMN(Snake)\n", "")
    options = ("compile", "net.yaml", "-b", "keras")
    done = cnnspec(*options, sites=(site,), place=tmp_path, status=1)
    assert "error[unsupported-op]: `snake` is not supported by the keras backend" in done.stderr


BACKEND = """
class Backend:
    name, imports, column = {name!r}, frozenset(), None
    def emit(self): ...
    def open(self): ...
HISS = Backend()
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("HISS = None", "it has no `name`"),
        (BACKEND.format(name="hiss").replace("def open", "def shut"), "it has no `open`"),
        (BACKEND.format(name="boo"), "it calls itself `boo`"),
    ],
)
def test_a_broken_back_end_names_its_package(text: str, says: str, tmp_path: Path) -> None:
    site = package(tmp_path, "cobra", {"cnnspec.backends": "hiss = cobra:HISS"}, text)
    for arguments in (("compile", "net.yaml", "-b", "hiss"), ("ops",)):
        done = cnnspec(*arguments, sites=(site,), place=tmp_path, spec=PLAIN, status=2)
        assert "error[plugin-failed]: plug-in `hiss` of `cobra 0.5` cannot be used: " in done.stderr
        assert says in done.stderr
    arguments = ("check", "net.yaml", "--backends", "numpy,hiss")
    done = cnnspec(*arguments, sites=(site,), place=tmp_path, spec=PLAIN, status=2)
    assert says in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("name", "owner"), [("torch", "cnnspec"), ("program", "cnnspec-snake 1.2.0")]
)
def test_two_back_ends_of_one_name(name: str, owner: str, installed: Path, tmp_path: Path) -> None:
    site = package(tmp_path, "viper", {"cnnspec.backends": f"{name} = viper:BACKEND"})
    done = cnnspec("ops", sites=(installed, site), place=tmp_path, status=2)
    says = f"error[plugin-clash]: backend `{name}` is defined by both `{owner}` and `viper 0.5`"
    assert says in done.stderr
    done = cnnspec(
        "compile", "net.yaml", "-b", "numpy", sites=(installed, site), place=tmp_path, spec=PLAIN
    )
    assert done.stderr == ""


def test_a_back_end_that_is_not_there_is_suggested(installed: Path, tmp_path: Path) -> None:
    options = ("compile", "net.yaml", "-b", "progam")
    done = cnnspec(*options, sites=(installed,), place=tmp_path, spec=PLAIN, status=2)
    assert "did you mean `program`?" in done.stderr


def test_a_block_wins_with_a_warning(installed: Path, tmp_path: Path) -> None:
    spec = SNAKE.replace("layers:", "define:\n  snake: {layers: [tanh]}\nlayers:")
    done = cnnspec("validate", "net.yaml", sites=(installed,), place=tmp_path, spec=spec)
    assert "warning[block-hides-op]" in done.stderr
    assert "--> net.yaml:5:3" in done.stderr
    done = cnnspec(
        "compile", "net.yaml", "-b", "torch", sites=(installed,), place=tmp_path, spec=spec
    )
    assert "Snake(nn.Module)" in done.stdout  # the block's own class
    assert "torch.sin" not in done.stdout
    done = cnnspec("validate", "net.yaml", sites=(), place=tmp_path, spec=spec)
    assert "warning" not in done.stderr


def test_codes_and_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = [package(tmp_path, name, {"cnnspec.ops": "hiss = nowhere"}) for name in ("boa", "asp")]
    text, line, column = unmark(SNAKE.replace("snake", "@@hiss: {scale: 2}"))
    for count, code in ((1, "plugin-failed"), (2, "plugin-clash")):
        found = [
            e for d in distributions(path=[str(s) for s in sites[:count]]) for e in d.entry_points
        ]
        monkeypatch.setattr(plugins, "_entries", lambda group, found=found: tuple(found))
        with pytest.raises(SetupError) as raised:
            read(text)
        (diagnostic,) = raised.value.diagnostics
        assert (diagnostic.code, place(diagnostic)) == (code, (line, column))


# --- columns -----------------------------------------------------------------------------------


def test_a_second_cell_names_both_owners() -> None:
    column = Column("chalk")

    @column(Relu)
    def first(node: object, style: object) -> Spelling:
        return Spelling()

    with pytest.raises(ValueError, match=r"two cells for 'relu': .*first and .*second"):

        @column(Relu)
        def second(node: object, style: object) -> Spelling:
            return Spelling()

    column.carry(Relu, PLUGIN / "helper.py", weight=Zeros())
    assert column.starts(Relu) == {"weight": Zeros()}
    assert column.starts(Tanh) is None
    with pytest.raises(ValueError, match="carries 'relu' already"):
        column.carry(Relu)


def test_the_page_shows_the_package() -> None:
    page = (HERE.parent / "docs" / "plugins.md").read_text()
    files = sorted((PLUGIN / "src" / "cnnspec_snake").glob("*.py"))
    shown = [path.name for path in files if path.read_text() in page]
    assert shown == [path.name for path in files if path.name != "__init__.py"]
    entries = (PLUGIN / "pyproject.toml").read_text().partition("[project.entry-points")[2]
    assert entries.partition("[tool")[0].strip() in page
