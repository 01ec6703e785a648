"""FFmpeg program: discovery, command lines and processes."""
