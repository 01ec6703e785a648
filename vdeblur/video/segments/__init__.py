"""Segments of an interrupted job."""
