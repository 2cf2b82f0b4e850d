from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec.backends.base import Range
from cnnspec.backends.layout import lay_out
from cnnspec.backends.writer import Code, Writer, call, code, literal, mark, unmarked
