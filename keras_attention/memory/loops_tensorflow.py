"""Loops, branches and an average for TensorFlow that keep no more than their results: the gradient
computes the rest again.
"""

import functools

import keras
from keras import ops

from keras_attention.functional.average import average
from keras_attention.functional.normalize import LOWEST, softmax_of_rows
from keras_attention.memory.parts import Bands, BlockSeed, Gathered, dtype_of_sum, variables_as
from keras_attention.target import is_under_xla


def map_rematerialized(compute, blocks, shared, variables, dtype):
    """Stacks `compute(block, shared, average_rows)` over the blocks.

    The gradient keeps nothing of a block but the result, and computes the rest again. This is by
    loops with a gradient of our own: TensorFlow's keeps what the steps of the loop computed, and
    does not compile inside a branch.

    Args:
        compute: Function to a tensor, the same shape for each block. `average_rows` is that of
            `Attention.context`, which knows the context where its gradient alone is wanted.
        blocks: Dict of tensors with N blocks on the first axis, of `Bands` and of `Gathered`.
        shared: Structure of tensors with a first axis: one entry for all blocks, or one for each
            group of equally many blocks.
        variables: The variables that `compute` reads.
        dtype: The dtype of the results.

    Returns:
        Tensor `(N, ...)`.
    """
    import tensorflow as tf

    values = [ops.expand_dims(ops.convert_to_tensor(v.value), 0) for v in variables]

    def compute_block(block, shared, known=None):
        shared, values = shared
        with variables_as(variables, values):
            return compute(block, shared, functools.partial(average_rows, known=known))

    loops = _Loops(compute_block, blocks, (shared, values), dtype)

    @tf.custom_gradient
    def stacked(*tensors):
        context = loops.forward(tensors)
        return context, lambda upstream: loops.backward(tensors, context, upstream)

    return stacked(*loops.tensors)


class _Loops:
    """`map_rematerialized`, by a loop forward and a loop (or a loop of loops) backward."""

    def __init__(self, compute, blocks, shared, dtype):
        import tensorflow as tf

        self.compute, self.dtype = compute, dtype
        self.structure = blocks, shared
        flat = keras.tree.flatten(self.structure)
        self.first_shared = len(keras.tree.flatten(blocks))
        self.parted = {n: x for n, x in enumerate(flat) if isinstance(x, Bands | Gathered)}
        self.tensors = [
            ops.convert_to_tensor(x.x if n in self.parted else x) for n, x in enumerate(flat)
        ]
        self.learning = [n for n, x in enumerate(self.tensors) if x.dtype.is_floating]
        self.learning_own = [n for n in self.learning if n < self.first_shared]
        self.learning_shared = [n for n in self.learning if n >= self.first_shared]
        self.count = tf.shape(blocks["start"])[0]
        of_groups = [x for x in self.tensors[self.first_shared :] if x.shape[0] != 1]
        self.is_one_group = not of_groups
        self.groups = tf.shape(of_groups[0])[0] if of_groups else 1
        self.in_group = self.count // self.groups

    def forward(self, tensors):
        """The contexts of all blocks: `(N, ...)`."""

        def step(number, state):
            return [self._computed(self._block(tensors, number))], state

        # Two at a time: while one block waits for memory the other can multiply. The gradient
        # holds more of each, and takes two only of groups, whose blocks are smaller.
        (context,), _ = _loop(self.count, step, [], [self.dtype], at_once=2)
        return context

    def backward(self, tensors, context, upstream):
        """The gradients by the tensors, `None` for those that have none."""
        dtypes = [tensors[n].dtype for n in self.learning_own]
        dtypes_of_sums = [dtype_of_sum(tensors[n].dtype) for n in self.learning_shared]

        def of_block(number, sums):
            own, rest = self._gradients(tensors, number, context[number], upstream[number])
            return own, [s + ops.cast(g, s.dtype) for s, g in zip(sums, rest, strict=True)]

        def of_group(group, state):
            sums = [
                ops.zeros(ops.shape(tensors[n])[1:], dtype)
                for n, dtype in zip(self.learning_shared, dtypes_of_sums, strict=True)
            ]
            first = group * self.in_group
            stacks, sums = _loop(
                self.in_group,
                lambda number, sums: of_block(first + number, sums),
                sums,
                dtypes,
                at_once=1,
            )
            return [*stacks, *sums], state

        if self.is_one_group:
            stacks = [x[None] for x in of_group(0, [])[0]]  # (1, N, ...) and (1, ...)
        else:  # (groups, N / groups, ...) and (groups, ...)
            stacks, _ = _loop(self.groups, of_group, [], [*dtypes, *dtypes_of_sums], at_once=2)
        gradients = dict(zip(self.learning, stacks, strict=True))
        for n in self.learning_own:  # (groups, N / groups, ...) to (N, ...)
            gradients[n] = ops.reshape(gradients[n], (self.count, *ops.shape(gradients[n])[2:]))
        for n in self.learning_shared:
            if tensors[n].shape[0] == 1 and not self.is_one_group:
                gradients[n] = ops.sum(gradients[n], axis=0, keepdims=True)  # (1, ...)
        for n in self.parted.keys() & gradients.keys():
            gradients[n] = self._unstacked(n, tensors[n], gradients[n])
        return [
            ops.cast(gradients[n], x.dtype) if n in gradients else None
            for n, x in enumerate(tensors)
        ]

    def _block(self, tensors, number):
        """The tensors that one block is computed from, flat."""

        def part(n, x):
            if n in self.parted:
                return self.parted[n].part(x, number)
            if n < self.first_shared:
                return x[number]
            return x[0 if x.shape[0] == 1 else number // self.in_group]

        return [part(n, x) for n, x in enumerate(tensors)]

    def _computed(self, block, known=None):
        return self.compute(*keras.tree.pack_sequence_as(self.structure, block), known)

    def _gradients(self, tensors, number, known, upstream):
        """Those by a block's own tensors, and those by what it shares with others."""
        import tensorflow as tf

        block = self._block(tensors, number)
        watched = [block[n] for n in self.learning]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            context = self._computed(block, known)
        gradients = tape.gradient(context, watched, upstream, unconnected_gradients="zero")
        count = len(self.learning_own)
        return gradients[:count], gradients[count:]

    def _unstacked(self, n, x, stack):
        """The gradient by a tensor of that by its parts, which is their sum where they overlap."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            parts = self.parted[n].stack(x)
        return tape.gradient(parts, x, stack)


def _loop(count, step, state, dtypes, at_once):
    """The tensors of `step(number, state)`, stacked over the numbers, and the last state."""
    import tensorflow as tf

    arrays = [tf.TensorArray(dtype, count) for dtype in dtypes]

    def body(number, arrays, state):
        tensors, state = step(number, state)
        arrays = [a.write(number, x) for a, x in zip(arrays, tensors, strict=True)]
        return number + 1, arrays, state

    _, arrays, state = tf.while_loop(
        lambda number, *_: number < count,
        body,
        (0, arrays, state),
        parallel_iterations=at_once,
        maximum_iterations=count,  # without it XLA finds no gradient of a gradient
    )
    return [array.stack() for array in arrays], state


def branch(condition, yes, no, tensors, seed, variables):
    """`yes(tensors, seed)` or `no(tensors, seed)`, for a drawn seed or `None`.

    What one branch computes for its gradient the other would have to give as well, which does not
    compile: so each computes its gradient within itself.
    """
    import tensorflow as tf

    structure = tensors, [ops.convert_to_tensor(variable.value) for variable in variables]
    flat = [ops.convert_to_tensor(x) for x in keras.tree.flatten(structure)]
    learning = [n for n, x in enumerate(flat) if x.dtype.is_floating]

    def computed(side, flat):
        tensors, values = keras.tree.pack_sequence_as(structure, flat)
        with variables_as(variables, values):
            return side(tensors, None if seed is None else BlockSeed(seed, 0))

    @tf.custom_gradient
    def chosen(*flat):
        def backward(upstream):
            def differentiate(side):
                copies = [tf.identity(x) for x in flat]
                watched = [copies[n] for n in learning]
                with tf.GradientTape() as tape:
                    tape.watch(watched)
                    context = computed(side, copies)
                return tape.gradient(context, watched, upstream, unconnected_gradients="zero")

            gradients = tf.cond(condition, lambda: differentiate(yes), lambda: differentiate(no))
            gradients = dict(zip(learning, gradients, strict=True))
            return [gradients.get(n) for n in range(len(flat))]

        shapes = []  # one branch may know more of it than the other

        def forward(side):
            context = computed(side, flat)
            shapes.append(context.shape)
            return context

        context = tf.cond(condition, lambda: forward(yes), lambda: forward(no))
        for shape in shapes:
            context.set_shape(shape)
        return context, backward

    return chosen(*flat)


def average_rows(scores, value, mask=None, known=None):
    """`softmax(scores, mask) @ value` for rows that each see a key.

    With a gradient of its own, which passes over the scores half as often:

        dV = P^T dO;  dS = P * (dO V^T - rowsum(dO * O))

    Under XLA the context is divided by the sum of the exponentials, and not each weight.

    Args:
        scores: Tensor `(..., T, S)`.
        value: Tensor `(..., S, D)`.
        mask: Boolean tensor that broadcasts to the scores, or `None`.
        known: The context, where it has been computed before and its gradient alone is wanted.

    Returns:
        The context `(..., T, D)`; anything in rows that see no key.

    Reference:
        Dao et al., 2022, appendix B, https://arxiv.org/abs/2205.14135
    """
    import tensorflow as tf

    lead = tuple(scores.shape[:-2])
    is_alike = lead == tuple(value.shape[:-2]) and scores.dtype == value.dtype
    is_wide = keras.backend.standardize_dtype(scores.dtype) in ("float32", "float64")
    if not (is_alike and is_wide):
        return average(ops.cast(softmax_of_rows(scores, mask), value.dtype), value)
    if None in lead:  # of a batch that turns out to be 1 the gradient would be a sum
        value = ops.broadcast_to(value, (*ops.shape(scores)[:-2], *ops.shape(value)[-2:]))

    @tf.custom_gradient
    def averaged(scores, value):
        if is_under_xla():
            weights = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))  # (..., T, S)
            total = tf.reduce_sum(weights, axis=-1, keepdims=True)  # (..., T, 1)
        else:
            weights, total = softmax_of_rows(scores), None  # (..., T, S)
        context = known
        if known is None:
            context = tf.matmul(weights, value)  # (..., T, D)
            context = context if total is None else context / total

        def backward(upstream):
            mean = tf.reduce_sum(upstream * context, axis=-1, keepdims=True)  # (..., T, 1)
            if total is not None:
                upstream, mean = upstream / total, mean / total
            by_weights = tf.matmul(upstream, value, transpose_b=True)  # (..., T, S)
            by_value = tf.matmul(weights, upstream, transpose_a=True)  # (..., S, D)
            return weights * (by_weights - mean), by_value

        return context, backward

    return averaged(scores if mask is None else ops.where(mask, scores, LOWEST), value)
