"""Decoding: greedy search, beam search and sampling, each one compiled loop."""

from keras_attention.decoding.beam import beam_search
from keras_attention.decoding.greedy import greedy_search
from keras_attention.decoding.sampling import sample

__all__ = ["beam_search", "greedy_search", "sample"]
