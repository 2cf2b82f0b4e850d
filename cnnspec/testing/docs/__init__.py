"""Writes docs/ops.md, with agreement measured, and docs/schema.json: `make docs`."""
