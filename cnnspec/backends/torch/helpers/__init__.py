"""Modules that emitted torch files carry where no native module means what the spec means.

The emitter reads these files as text; importing them needs torch, and only tests do.
"""
