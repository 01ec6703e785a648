"""Adaptation of the guide to one clip, without truth."""
