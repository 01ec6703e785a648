"""Training data: caches, pools and readers of clips."""
