"""Blur synthesis."""
