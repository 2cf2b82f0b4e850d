"""Results of earlier checks: a spec that agreed, and of which nothing has changed, agrees.

An entry is a JSON file named by a digest of everything that a result depends on: the spec's text
and that of what it includes, parameters, options, files of inputs and sources, the code of cnnspec
and of plug-ins, versions of Python and of every library, the machine, and the variables that
steer them. Only what agrees is kept, so that a wrong entry can never hide where a fault is; what
cannot be told apart by its digest (a source that imports files of its own) is not kept at all.

An entry is read as untrusted: what is not of our own form is ignored with a warning, and written
anew. Writing replaces a file in one step, so that several checks may share a directory.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cnnspec import files, plugins
from cnnspec.check.compare import Comparison
from cnnspec.check.files import Request, built_of
from cnnspec.check.options import SpecReport
from cnnspec.diagnostics import Diagnostic, UserError
from cnnspec.document import read
from cnnspec.faults import Faults
from cnnspec.include import included
from cnnspec.ops.base import Shape

__all__ = ["Cache"]

MOST_BYTES = 64 << 20
"""Of an entry; a larger file is none of ours."""

LIBRARIES = {"jax", "keras", "numpy", "safetensors", "scipy", "tensorflow", "torch"}
"""What a source may import, beside the standard library, without being more than its file."""
VARIABLES = ("CUDA_", "GLIBC_", "JAX_", "KERAS_", "MKL_", "NPY_", "OMP_", "ONEDNN_", "OPENBLAS_",
             "PYTORCH_", "TF_", "TORCH_", "XLA_")  # fmt: skip
"""Beginnings of the names of variables that steer the libraries."""


class Entry(BaseModel):
    """What is kept of a result.

    Attributes:
        format: number of the form.
        key: the digest, which is the file's name too.
        comparisons: all of them; those that are judged agree.
        notes: of the report.
        inputs: shapes that it was run on.
        reduced: whether these are smaller than the spec's own.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    format: Literal[1] = 1
    key: str
    comparisons: list[Comparison]
    notes: list[str]
    inputs: dict[str, Shape]
    reduced: bool | None


class Cache:
    """A directory of results.

    Attributes:
        warnings: what was wrong with entries, or with the directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.warnings: list[Diagnostic] = []
        self._keys: dict[str, str] = {}  # as they were before the check

    def find(self, path: str, request: Request) -> SpecReport | None:
        """The report of an earlier check of the same, or None."""
        try:
            key = _key(path, request)
            warnings = built_of(path, request).warnings
        except UserError:  # the check will tell
            return None
        if key is None:
            return None
        self._keys[path] = key
        entry = self._read(key)
        if entry is None:
            return None
        note = "from the cache: this spec, these options and versions have agreed before"
        return SpecReport(
            path,
            comparisons=entry.comparisons,
            diagnostics=list(warnings),
            notes=[*entry.notes, note],
            inputs=entry.inputs,
            reduced=entry.reduced,
            cached=True,
        )

    def keep(self, path: str, request: Request, report: SpecReport) -> None:
        """Keep a result that agrees, unless something has changed since it was looked for."""
        key = self._keys.get(path)
        if key is None or not report.agree or report.saved:
            return
        if any(found.severity == "error" for found in report.diagnostics):
            return
        try:
            if _key(path, request) != key:
                return
            entry = Entry(
                key=key,
                comparisons=report.comparisons,
                notes=report.notes,
                inputs=report.inputs,
                reduced=report.reduced,
            )
            self._prepare()
            files.write_text(self._file(key), entry.model_dump_json(), force=True)
        except UserError as fault:
            self._warn("cache-unwritable", f"the cache `{self.directory}` cannot be written", fault)

    def _file(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def _prepare(self) -> None:
        """A new directory is left alone by version control and by backups."""
        if self.directory.is_dir():
            return
        files.make_directory(self.directory)
        files.write_text(self.directory / ".gitignore", "*\n", force=True)
        tag = "Signature: 8a477f597d28d172789f06886806bc55\n# Results of `cnnspec check`.\n"
        files.write_text(self.directory / "CACHEDIR.TAG", tag, force=True)

    def _read(self, key: str) -> Entry | None:
        file = self._file(key)
        if not os.path.lexists(file):
            return None
        try:
            if file.is_file() and file.stat().st_size > MOST_BYTES:
                raise ValueError("it is too large")
            entry = Entry.model_validate_json(files.read_bytes(file))
            if entry.key != key:
                raise ValueError("it belongs to another key")
            judged = [c for c in entry.comparisons if c.judged]
            if not judged or not all(c.agree for c in judged):
                raise ValueError("it does not agree")
        except (UserError, ValidationError, ValueError, OSError) as fault:
            self._warn("cache-corrupt", f"`{file}` is no result of a check, and is ignored", fault)
            return None
        return entry

    def _warn(self, code: str, message: str, fault: Exception) -> None:
        said = str(fault).splitlines()[:1] if not isinstance(fault, ValidationError) else ()
        if not any((w.code, w.message) == (code, message) for w in self.warnings):
            self.warnings.append(Diagnostic(code, message, notes=tuple(said), severity="warning"))


# --- the key ---------------------------------------------------------------------------------


def _key(path: str, request: Request) -> str | None:
    """The digest of all that a result depends on; None where that cannot be known.

    Raises:
        UserError: something cannot be read.
    """
    options = request.options
    arrays = (options.inputs, options.targets, options.weights)
    if options.save or any(value is not None for value in arrays):
        return None  # results that are wanted in full, or arrays that have no name
    document = read(path)
    faults = Faults(document)
    libraries = included(document, faults)
    faults.raise_any()
    sources = {}
    for name, (file, entry) in sorted(options.sources.items()):
        text = files.read_bytes(file)
        if not _complete(text):
            return None
        sources[name] = [_digest(text), entry]
    told = {
        f.name: repr(getattr(options, f.name))
        for f in dataclasses.fields(options)
        if f.name not in ("sources", "in_process", "timeout", "save")
    }
    given = {
        name: None if path is None else _digest(files.read_bytes(path))
        for name, path in (("inputs", request.inputs), ("weights", request.weights))
    }
    everything = {
        "spec": [path.endswith(".json"), document.text, [each.text for each in libraries]],
        "parameters": {name: repr(value) for name, value in sorted(request.parameters.items())},
        "options": told,
        "data": given,
        "sources": sources,
        "surroundings": surroundings(),
        "variables": {n: v for n, v in sorted(os.environ.items()) if n.startswith(VARIABLES)},
    }
    return _digest(json.dumps(everything).encode("utf-8", "surrogatepass"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@cache
def surroundings() -> Mapping[str, Any]:
    """The code that runs, and what it runs on."""
    return {
        "code": _tree(Path(__file__).parents[1]),
        "plugins": _plugins(),
        "python": sys.version,
        "platform": [platform.platform(), platform.machine(), _processor()],
        # Of everything that is installed: a library may compute by another, such as a BLAS.
        "versions": sorted({f"{d.name} {d.version}" for d in distributions()}),
    }


def _tree(folder: Path) -> str:
    """A digest of every Python file of a package."""
    names = sorted(folder.rglob("*.py"))
    parts = [[n.relative_to(folder).as_posix(), _digest(n.read_bytes())] for n in names]
    return _digest(json.dumps(parts).encode())


def _plugins() -> list[str]:
    """A digest of the package of every plug-in, whose code may change without its version."""
    found = []
    for module in plugins.modules():
        for place in _locations(module):
            found.append(_tree(place) if place.is_dir() else _digest(place.read_bytes()))
    return sorted(found)


def _locations(module: str) -> list[Path]:
    """The directories, or the file, of a top-level module, which is not imported."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(module.partition(".")[0])
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place) for place in spec.submodule_search_locations]
    return [] if spec.origin is None else [Path(spec.origin)]


def _processor() -> str:
    """The processor's own name: other ones have other instructions, and round otherwise."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    lines = (line for line in text.splitlines() if line.startswith(("model name", "flags")))
    return _digest("\n".join(sorted(set(lines))).encode())


def _complete(source: bytes) -> bool:
    """Whether a source is its file alone: it imports nothing but libraries that are known."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    known = LIBRARIES | (sys.stdlib_module_names - {"importlib", "runpy", "pkgutil", "imp"})
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "" if not node.level else "."]
        elif isinstance(node, ast.Name) and node.id in ("__import__", "exec", "eval", "open"):
            return False
        if any(name.partition(".")[0] not in known for name in names):
            return False
    return True
