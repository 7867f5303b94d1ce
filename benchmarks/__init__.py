"""Ours beside its peers: time, memory and accuracy, each figure a ratio of one run."""
