"""vdeblur takes the motion blur out of video, streaming, and keeps everything else as it was."""

__version__ = "0.1.0"
