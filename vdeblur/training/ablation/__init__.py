"""Ablation: variants of the network and of its training, each trained and scored alike, as a table.

All variants see the same clips in the same order for the same number of steps, from scratch, and are scored on the same
clips. Finished ones are kept, so that a comparison can be continued.
"""
