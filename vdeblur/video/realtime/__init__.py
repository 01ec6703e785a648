"""Real-time input and output: cameras, streams, raw pipes and JPEG."""
