"""`include:`: libraries of blocks from other files, inside the root spec's directory tree only.

A spec is untrusted, so a path is resolved, symbolic links too, before anything of it is touched
that would tell whether it exists.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from cnnspec.diagnostics import Label, SetupError, SpecError
from cnnspec.document import MAX_BYTES, Document, Path, read
from cnnspec.faults import Faults, quoted

__all__ = ["MOST_FILES", "included"]

MOST_FILES = 100


def included(root: Document, faults: Faults) -> tuple[Document, ...]:
    """Every file that the root includes, each once, after those that it includes itself.

    What is wrong is reported at the entry that names the file, or in the file.
    """
    if root.file is None:
        if isinstance(root.value, dict) and "include" in root.value:
            faults.add(
                "include-of-text",
                ("include",),
                "a spec that is given as text has no directory to include files from",
                help="read it from a file",
                key=True,
            )
        return ()
    tree = os.path.dirname(os.path.realpath(root.file))
    reader = _Reader(faults, tree, {os.path.realpath(root.file): "open"})
    reader.follow(root, root.file)
    return tuple(reader.documents)


@dataclass(slots=True)
class _Reader:
    faults: Faults
    tree: str
    files: dict[str, str]
    """Every file met so far: `open` while what it includes is read, then `done`."""

    documents: list[Document] = field(default_factory=list)
    characters: int = 0

    def follow(self, document: Document, file: str) -> None:
        """Read what a document includes; recursion is bounded by the number of files."""
        if not isinstance(document.value, dict) or "include" not in document.value:
            return
        written = document.value["include"]
        faults = self.faults.of(document)
        if not isinstance(written, tuple):
            faults.add(
                "wrong-type",
                ("include",),
                "`include` is a list of files",
                help="such as `include: [blocks/resnet.yaml]`",
            )
            return
        for position, entry in enumerate(written):
            path: Path = ("include", position)
            if not isinstance(entry, str):
                faults.add("wrong-type", path, "an entry of `include` is the name of a file")
            else:
                self._entry(faults, path, file, entry)

    def _entry(self, faults: Faults, path: Path, file: str, entry: str) -> None:
        inside = "a spec includes files inside its own directory, and those below it"
        name = os.path.normpath(os.path.join(os.path.dirname(file), entry))
        if not entry or "\0" in entry:
            faults.add("include-missing", path, f"there is no file {quoted(entry)}")
            return
        if os.path.isabs(entry):
            faults.add("include-outside", path, f"{quoted(entry)} is an absolute path", help=inside)
            return
        real = os.path.realpath(name)
        if not _inside(self.tree, real):
            faults.add(
                "include-outside",
                path,
                f"{quoted(entry)} is outside the spec's directory",
                help=inside,
            )
            return
        state = self.files.get(real)
        if state == "open":
            message = f"{quoted(entry)} includes this file, or is it"
            faults.add("include-cycle", path, message, help="take one of the two entries out")
        if state is not None:
            return
        if len(self.files) > MOST_FILES:
            faults.add("include-limit", path, f"a spec includes at most {MOST_FILES} files")
            return
        document = self._read(faults, path, name, entry)
        if document is not None:
            self.files[real] = "open"
            self.follow(document, name)
            self.files[real] = "done"
            self.documents.append(document)

    def _read(self, faults: Faults, path: Path, name: str, entry: str) -> Document | None:
        try:
            mode = os.stat(name).st_mode
        except (OSError, ValueError):
            faults.add("include-missing", path, f"there is no file {quoted(entry)}")
            return None
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            faults.add("include-unreadable", path, f"{quoted(entry)} is {kind}")
            return None
        try:
            document = read(name)
        except SetupError as error:
            message = f"{quoted(entry)} cannot be read"
            notes = tuple(each.message for each in error.diagnostics)
            faults.add("include-unreadable", path, message, notes=notes)
            return None
        except SpecError as error:
            faults.pass_on(error, Label(faults.document.span(path), "included here"))
            return None
        self.characters += len(document.text)
        if self.characters > MAX_BYTES:
            message = f"included files have more than {MAX_BYTES // 1024**2} MiB together"
            faults.add("include-limit", path, message)
            return None
        return document


def _inside(tree: str, path: str) -> bool:
    try:
        return os.path.commonpath([tree, path]) == tree
    except ValueError:  # another drive
        return False
