"""Recurrent attention: the time loop, attention that depends on past weights, decoders."""
