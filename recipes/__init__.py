"""Complete, trained models that use `keras_attention`; run as `python -m recipes.NAME`."""

import importlib.util
import sys

# `python -m` imports this first, perhaps a Python in which nothing is installed.
if sys.argv[0] == "-m" and not all(map(importlib.util.find_spec, ("numpy", "keras"))):
    print(
        "Error: this Python has no Keras: run `make setup` and `. .venv/bin/activate`, or "
        'pip install -e ".[recipes]"',
        file=sys.stderr,
    )
    sys.exit(2)
