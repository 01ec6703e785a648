"""What is learned before joint training."""
