"""Evaluation: full-reference quality of restored clips, and harm done to sharp ones.

PSNR and SSIM are taken in R'G'B' rounded to 8 bits, without a crop, over all frames.
"""

from vdeblur.evaluation.cases import find_pairs
from vdeblur.evaluation.progress import EvaluationProgress
from vdeblur.evaluation.results import Evaluation
from vdeblur.evaluation.run import evaluate
from vdeblur.evaluation.scoring import Scores, score_pair

__all__ = ["Evaluation", "EvaluationProgress", "Scores", "evaluate", "find_pairs", "score_pair"]
