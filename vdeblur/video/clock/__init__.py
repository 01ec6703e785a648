"""Clocks: one time line for all streams of a source, whatever its own clock does."""
