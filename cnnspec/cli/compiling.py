"""Commands that write files: source text and weights."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from cnnspec import files
from cnnspec.cli.app import (
    BackendOption,
    ForceOption,
    OptimizeOption,
    ParameterOption,
    SeedOption,
    SpecArgument,
    StrictOption,
    command,
)
from cnnspec.cli.reading import load
from cnnspec.cli.terminal import out, say
from cnnspec.render import clean

if TYPE_CHECKING:
    from cnnspec.backends.base import Emitted


@command("compile")
def compile_spec(
    spec: SpecArgument,
    *,
    backend: BackendOption,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="By default the standard output.",
            show_default=False,
        ),
    ] = None,
    reproducible: Annotated[
        bool,
        typer.Option(
            "--reproducible",
            help="Dropout masks that are the same in every back end, instead of the framework's.",
        ),
    ] = False,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="The framework's own layers, also where they do not compute what the spec means.",
        ),
    ] = False,
    optimize: OptimizeOption = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="A safetensors file that must fit; a copy is written beside the output, with "
            "--optimize of what becomes of them.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Write nothing; exit with status 1 and a diff if a file is not, byte for byte, "
            "what would be written.",
        ),
    ] = False,
    map_file: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="FILE",
            help="Also write which line of the spec each line comes from, as JSON.",
            show_default=False,
        ),
    ] = None,
    parameters: ParameterOption = None,
    force: ForceOption = False,
    strict: StrictOption = False,
) -> None:
    """Write standalone source for one framework.

    The file needs its framework and NumPy, and nothing of cnnspec. With `train:` in the spec it
    has the training functions too.

    Examples:
      cnnspec compile net.yaml --backend torch
      cnnspec compile net.yaml -b keras -o net_keras.py
      cnnspec compile net.yaml -b torch -o net.py --weights best.safetensors
      cnnspec compile net.yaml -b torch -p width=128 -o net.py
      cnnspec compile net.yaml -b torch -o fast.py --optimize inference
      cnnspec compile net.yaml -b torch -o net.py --check     # up to date? for CI
      cnnspec compile net.yaml -b torch -o net.py --map net.map.json
    """
    if output is None and (check or weights is not None):
        raise typer.BadParameter(
            f"{'--check' if check else '--weights'} needs an output: -o FILE", param_hint="-o"
        )
    if map_file is not None and output is not None and _same(map_file, output):
        raise typer.BadParameter("the map and the source are one file", param_hint="--map")
    from cnnspec import backends
    from cnnspec.backends.base import Style

    original = graph = load(spec, parameters, strict=strict)
    if optimize is not None:
        from cnnspec.optimize import optimize as optimized

        graph = optimized(graph)
    style = Style(
        random="counter" if reproducible else "framework", layers="native" if native else "exact"
    )
    emitted = backends.get(backend).emit(graph, style)
    made = [] if output is None else [(output, emitted.text.encode())]
    if map_file is not None:
        from cnnspec.backends.mapping import source_map

        mapped = json.dumps(source_map(emitted, graph), indent=2) + "\n"
        made.insert(0, (map_file, mapped.encode()))
    if weights is not None and output is not None:
        from cnnspec.weights import read_weights, weights_bytes

        values = read_weights(weights, original)
        beside = f"{os.path.splitext(output)[0]}.safetensors"
        same = os.path.exists(beside) and os.path.samefile(weights, beside)
        if optimize is not None:
            from cnnspec.optimize import fold_weights

            if same:
                raise typer.BadParameter(
                    f"the weights that go with {clean(output)} would replace those that they are "
                    "made of",
                    param_hint="-o",
                )
            values = fold_weights(original, values)
        if not same:
            made.append((beside, weights_bytes(values)))
    if check:
        from cnnspec.committed import require_same

        for diff in require_same(made):
            out(diff)
        return
    for path, _ in made:  # all are asked for before one is written
        files.refuse_existing(path, force=force)
    for path, data in made:
        files.write_bytes(path, data, force=force)
    if output is None:
        out(emitted.text.rstrip("\n"))
    elif weights is None:
        say(f"wrote {clean(output)}")
    else:
        say(f"wrote {clean(output)} and {clean(beside)}; to load them:")
        say(_loading(emitted, output, beside))


@command("init-weights")
def init_weights(
    spec: SpecArgument,
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", show_default=False, help="To write.")
    ],
    parameters: ParameterOption = None,
    seed: SeedOption = None,
    force: ForceOption = False,
) -> None:
    """Write initial weights as a safetensors file.

    They are drawn as the spec says, in float64. They depend on the seed and on the names of the
    parameters only, so every back end starts from the same ones.

    Examples:
      cnnspec init-weights net.yaml -o net.safetensors
      cnnspec init-weights net.yaml -o net1.safetensors --seed 1
    """
    files.refuse_existing(output, force=force)
    graph = load(spec, parameters)
    from cnnspec.initializers import initial_weights
    from cnnspec.weights import write_weights

    write_weights(output, initial_weights(graph, seed=seed), force=force)
    say(f"wrote {clean(output)}")


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _loading(emitted: Emitted, output: str, weights: str) -> str:
    """The lines of Python that load weights into the emitted model."""
    module = os.path.splitext(os.path.basename(output))[0]
    file = os.path.basename(weights)
    # In a Keras file it is a function: a functional model has a `load_weights` of its own.
    function = "\ndef load_weights(" in emitted.text
    names = f"{emitted.entry}, load_weights" if function else emitted.entry
    importing = f"from {module} import {names}"
    return "\n".join(
        [
            f"  {importing if module.isidentifier() else f'# in {clean(output)}:'}",
            "",
            f"  model = {emitted.entry}()",
            f"  load_weights(model, {file!a})" if function else f"  model.load_weights({file!a})",
        ]
    )
