"""Trained networks at work: their answers, and how good these are."""

from __future__ import annotations
