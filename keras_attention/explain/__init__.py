"""Attention weights of trained models: maps, rollout, faithfulness, plots."""
