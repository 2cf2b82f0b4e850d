"""Prove that back ends compute the same: `check` for Python, `command` for the command line.

This package is a client of back ends and sessions; it names no framework.
"""

from cnnspec.check.api import check, check_graph
from cnnspec.check.command import command
from cnnspec.check.options import Options, Report, SpecReport

__all__ = ["Options", "Report", "SpecReport", "check", "check_graph", "command"]
