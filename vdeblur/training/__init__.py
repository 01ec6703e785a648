"""Training: synthetic blur from sharp stills and videos, and the loop that fits a network to it."""
