"""Which specs are tests, and how they are checked; wrong settings are one usage error."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cnnspec.config import CACHE, Config, in_ci, read_config
from cnnspec.diagnostics import Diagnostic, SetupError, UserError
from cnnspec.pytest_plugin.items import Plan
from cnnspec.quantities import DEFAULT_BACKENDS
from cnnspec.render import render


def plan(config: pytest.Config) -> Plan | None:
    """The specs of a run of pytest, None where there are none.

    Unless some other files are asked for, the specs are collected as if they had been named.

    Raises:
        UsageError: a setting is wrong, or a pattern stands for no spec.
    """
    patterns = config.getoption("--cnnspec-specs")
    try:
        settings = read_config(str(config.rootpath / "pyproject.toml")) or Config()
        base = config.invocation_params.dir if patterns else config.rootpath
        settings = dataclasses.replace(settings, specs=tuple(patterns or settings.specs))
        if not settings.specs:
            return None
        made = _plan(config, settings, base)
    except UserError as fault:
        raise pytest.UsageError(render(fault.diagnostics)) from None
    everything = config.args_source is not pytest.Config.ArgsSource.ARGS
    at_root = config.invocation_params.dir == config.rootpath
    if patterns or (everything and at_root):  # a worker of xdist is given the same arguments
        config.args.extend(str(file) for file in made.files)
    return made


def _plan(config: pytest.Config, settings: Config, base: Path) -> Plan:
    from cnnspec.backends import BUILT_IN, get
    from cnnspec.spec_files import matching

    backends = settings.backends or DEFAULT_BACKENDS
    faults = [
        Diagnostic("backend-twice", f"backend `{name}` is listed twice")
        for name in dict.fromkeys(backends)
        if backends.count(name) > 1
    ]
    if len(backends) < 2:
        faults.append(Diagnostic("nothing-compared", "a check needs at least two backends"))
    if faults:
        raise SetupError(faults)
    for name in backends:
        framework = name.partition(":")[0]
        if framework not in BUILT_IN:
            get(framework)
    files = [Path(file) for file in matching(settings.specs, str(base))]
    cache = str(config.rootpath / CACHE) if settings.cache and not in_ci() else None
    made = Plan(settings, backends, tuple(files), cache)
    workerinput = getattr(config, "workerinput", {})
    made.shared = workerinput.get("cnnspec_shared")
    config.add_cleanup(made.close)
    return made
