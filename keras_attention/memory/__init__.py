"""How attention saves memory: the same numbers as as a whole, in blocks or by a fused kernel."""
