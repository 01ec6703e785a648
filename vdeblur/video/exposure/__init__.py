"""Exposure metadata: the shutter time that cameras write into their files, for each frame."""
