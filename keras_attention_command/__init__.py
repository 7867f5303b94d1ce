"""The command `keras-attention`: what works on any saved model, without writing Python.

It stands beside the package, not in it: what is in the package runs after Keras is imported, too
late to keep TensorFlow's log off the terminal, to answer `--help` at once, or to say which backend
is missing.
"""
