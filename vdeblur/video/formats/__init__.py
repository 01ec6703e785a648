"""Pixel formats, colour tags and PyAV frames."""
