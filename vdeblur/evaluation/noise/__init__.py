"""Evaluation under noise: how much deblurring survives it, and what is gained where it is taken out."""

from vdeblur.evaluation.noise.kinds import NoiseKind, noise_kinds
from vdeblur.evaluation.noise.results import NoiseEvaluation
from vdeblur.evaluation.noise.run import NoiseSources, evaluate_noise

__all__ = ["NoiseEvaluation", "NoiseKind", "NoiseSources", "evaluate_noise", "noise_kinds"]
