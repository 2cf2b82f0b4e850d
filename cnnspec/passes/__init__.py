"""Functions from graph to graph."""
