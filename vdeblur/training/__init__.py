"""Training: blur synthesised from sharp stills, and the loop that learns from it."""
