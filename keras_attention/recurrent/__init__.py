"""Attention inside a recurrence: the loop over time, attention with a past, decoders."""
