"""What belongs to a video and lies beside its coded pictures: alpha, stills of an animation, the container's crop."""
