"""Media: clips that FFmpeg makes, corpora of kinds of video, and looks at what became of them."""
