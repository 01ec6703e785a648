"""Pass-through streams: audio, subtitles, data, attachments and chapters beside the video."""
