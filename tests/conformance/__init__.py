"""The node tests of ONNX as an outside judge: each becomes a spec, and every back end runs it."""
