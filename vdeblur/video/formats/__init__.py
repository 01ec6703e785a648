"""Pixel formats, colour tags, and conversion between PyAV frames and planes."""
