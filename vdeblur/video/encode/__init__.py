"""Encoder and container choice."""
