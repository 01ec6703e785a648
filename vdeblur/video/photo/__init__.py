"""Metadata of picture files."""
