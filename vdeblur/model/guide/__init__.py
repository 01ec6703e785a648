"""The guide: a recurrent denoiser, its inputs, and the noise that is read from a picture."""
