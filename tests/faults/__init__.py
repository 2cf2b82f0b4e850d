"""Faults that are planted into emitted text, one by one, to see that `check` finds each.

A family of faults is a module here; `python -m tests.faults` plants them all.
"""
