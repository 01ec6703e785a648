"""Evaluation: how much closer to the truth a network brings blurred clips, and what it does to those that need nothing.

PSNR and SSIM are taken in R'G'B' rounded to 8 bits, without a crop, over all frames.
"""

from vdeblur.evaluation.cases import find_pairs
from vdeblur.evaluation.results import Evaluation
from vdeblur.evaluation.run import Step, evaluate
from vdeblur.evaluation.scoring import Scores, score_pair

__all__ = ["Evaluation", "Scores", "Step", "evaluate", "find_pairs", "score_pair"]
