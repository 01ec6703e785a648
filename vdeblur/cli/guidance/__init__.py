"""Guidance for people who type commands: what was meant, what a folder gave, what the first run waits for."""
