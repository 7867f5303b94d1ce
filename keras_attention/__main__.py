"""`python -m keras_attention`: the command `keras-attention`.

Python imports the package before this file, and thereby TensorFlow, whose log at import then shows.
"""

import sys

from keras_attention_command.main import main

if __name__ == "__main__":
    sys.exit(main())
