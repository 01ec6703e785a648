"""Tiny networks of each kind, and clips for them."""
