"""Encryption: which streams of a source nobody can decode without a key."""
