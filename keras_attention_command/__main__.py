"""`python -m keras_attention_command`, the same as `keras-attention`."""

import sys

from keras_attention_command.main import main

if __name__ == "__main__":
    sys.exit(main())
