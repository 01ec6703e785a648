"""The edge to FFmpeg: everything that reads or writes media. No other folder imports ``av`` or ``ffmpeg``."""
