"""The FFmpeg program: found, run, and told what to do."""
