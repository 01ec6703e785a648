"""Fuzzing: a small corpus, damage done to it, and workers that restore what is left."""
