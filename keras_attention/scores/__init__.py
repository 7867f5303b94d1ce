"""Scores: the similarity of queries and keys before the normalizer. One class per file."""

from keras_attention.scores.additive import AdditiveScore
from keras_attention.scores.alibi import ALiBiScore
from keras_attention.scores.bilinear import BilinearScore
from keras_attention.scores.concat import ConcatScore
from keras_attention.scores.cosine import CosineScore
from keras_attention.scores.dot import DotScore
from keras_attention.scores.dot_product import DotProductScore
from keras_attention.scores.euclidean import EuclideanScore
from keras_attention.scores.location import LocationScore
from keras_attention.scores.names import SCORES, get
from keras_attention.scores.relative_position import RelativePositionScore
from keras_attention.scores.scaled_dot import ScaledDotScore
from keras_attention.scores.score import Score
from keras_attention.scores.sum import SumScore
from keras_attention.scores.tanh_dot import TanhDotScore

__all__ = [
    "SCORES",
    "ALiBiScore",
    "AdditiveScore",
    "BilinearScore",
    "ConcatScore",
    "CosineScore",
    "DotProductScore",
    "DotScore",
    "EuclideanScore",
    "LocationScore",
    "RelativePositionScore",
    "ScaledDotScore",
    "Score",
    "SumScore",
    "TanhDotScore",
    "get",
]
