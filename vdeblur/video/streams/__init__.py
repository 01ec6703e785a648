"""The streams beside the video."""
