"""Loops over blocks by Keras' operations, for backends that differentiate them well (JAX)."""

import keras
from keras import ops

from keras_attention.memory.parts import Bands, dtype_of_sum


def map_rematerialized(compute, blocks, shared, variables, dtype):
    """Stacks `compute(block, shared, None)` over the blocks; see the same in `loops_tensorflow`."""
    stacked = {k: v.stack(v.x) if isinstance(v, Bands) else v for k, v in blocks.items()}
    # The gradient by what is shared is summed over all blocks, in the dtype that is handed in.
    dtypes = keras.tree.map_structure(lambda x: x.dtype, shared)
    wide = keras.tree.map_structure(lambda x: ops.cast(x[0], dtype_of_sum(x.dtype)), shared)

    def compute_block(block, wide):
        return compute(block, keras.tree.map_structure(ops.cast, wide, dtypes), None)

    return ops.map(lambda block: keras.remat(compute_block)(block, wide), stacked)
