"""Sources that are pictures and that FFmpeg does not read, or not rightly."""
