"""A found case as a file that `cnnspec check` replays."""

from __future__ import annotations

import os
import shlex
from importlib import metadata

from cnnspec import files
from cnnspec.fuzz.options import Case, FuzzOptions
from cnnspec.version import __version__

PACKAGES = ("numpy", "torch", "keras", "tensorflow", "jax")


def file_name(options: FuzzOptions, case: Case) -> str:
    """What the file of a case is called; the same case has the same name."""
    return f"seed{options.seed}-{case.index}.yaml"


def write(options: FuzzOptions, case: Case, directory: str, *, force: bool) -> None:
    """Write the spec; an existing file is replaced only with `force`.

    Raises:
        SetupError: the file exists, or the system refuses.
    """
    files.make_directory(directory)
    path = os.path.join(directory, file_name(options, case))
    files.write_text(path, text_of(options, case, path), force=force)
    case.file = path


def refuse_existing(options: FuzzOptions, directory: str, *, force: bool) -> None:
    """Refuse, before long work, a directory with cases of the same seed.

    Raises:
        SetupError: there is one; it names the file.
    """
    if force or not os.path.isdir(directory):
        return
    start = f"seed{options.seed}-"
    for name in sorted(os.listdir(directory)):
        if name.startswith(start) and name.endswith(".yaml"):
            files.refuse_existing(os.path.join(directory, name))


def text_of(options: FuzzOptions, case: Case, path: str) -> str:
    """The spec under a header that says what it shows and how to replay it."""
    lines = [
        *case.verdict.message.splitlines()[:20],
        "",
        f"replay: {shlex.join(replay(options, path))}",
        f"network {case.index} of seed {options.seed}, at most {options.most_nodes} layers"
        + (f", with {', '.join(options.ops)}" if options.ops else ""),
        f"cnnspec {__version__}, " + ", ".join(_versions()),
    ]
    header = "".join(f"# {_printable(line)}".rstrip() + "\n" for line in lines)
    return header + case.text


def replay(options: FuzzOptions, path: str) -> list[str]:
    """The command that shows a case again."""
    found = ["cnnspec", "check", path, "--backends", ",".join(options.backends)]
    if len(options.dtypes) == 1:
        found += ["--dtype", options.dtypes[0]]
    found += ["--steps", str(options.steps)]
    return [*found, "--native"] if options.layers == "native" else found


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in line)


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return found


__all__ = ["file_name", "refuse_existing", "replay", "text_of", "write"]
