"""Loops and branches that keep no more than their results: the gradient computes the rest again."""

import contextlib
import dataclasses

import keras
from keras import ops


@dataclasses.dataclass
class Placed:
    """Parts of `x` on its first axis: not the `number`-th, but the `place(number)`-th."""

    x: object
    place: object

    def part(self, x, number):
        return x[self.place(number)]


@dataclasses.dataclass
class Bands:
    """Overlapping parts of `x` `(..., S, _)`: `count` of them, each `rows + halo` steps long, from
    every `rows`-th step on.
    """

    x: object
    count: object
    rows: int
    halo: int

    def part(self, x, number):
        """One part of `x`, which stands for `self.x`."""
        *lead, _, size = ops.shape(x)
        start = (*[0] * len(lead), number * self.rows, 0)
        return ops.slice(x, start, (*lead, self.rows + self.halo, size))

    def stack(self, x):
        """All parts of `x`: `(count, ..., rows + halo, _)`."""
        *lead, total, size = ops.shape(x)
        x = ops.reshape(x, (*lead, total // self.rows, self.rows, size))
        whole, rest = divmod(self.halo, self.rows)
        parts = [x[..., n : n + self.count, :, :] for n in range(whole + 1)]
        if rest:
            parts.append(x[..., whole + 1 : whole + 1 + self.count, :rest, :])
        return to_front(ops.concatenate(parts, axis=-2))


def each(compute, blocks, shared, dtype):
    """Stacks `compute(block, shared)`, of a dtype, over the first axis of the tensors in `blocks`
    and the parts of its `Bands`.

    Each entry on the first axis of `shared` is for equally many of the blocks. The gradient keeps
    nothing of a block but the result, which `compute` is given when it computes the rest again.
    """
    if keras.backend.backend() != "tensorflow":
        stacked = {k: v.stack(v.x) if isinstance(v, Bands) else v for k, v in blocks.items()}
        shared = keras.tree.map_structure(lambda x: x[0], shared)
        return ops.map(lambda block: keras.remat(compute)(block, shared), stacked)
    return _each_on_tensorflow(compute, blocks, shared, dtype)


def _each_on_tensorflow(compute, blocks, shared, dtype):
    """By loops with a gradient of our own: TensorFlow's keeps what the loop's steps computed, and
    does not compile inside a branch.
    """
    import tensorflow as tf

    structure, flat = (blocks, shared), keras.tree.flatten((blocks, shared))
    parted = {n: x for n, x in enumerate(flat) if isinstance(x, Bands | Placed)}
    flat = [ops.convert_to_tensor(x.x if n in parted else x) for n, x in enumerate(flat)]
    count_blocked = len(keras.tree.flatten(blocks))
    count = tf.shape(blocks["number"])[0]
    is_one_group = all(x.shape[0] == 1 for x in flat[count_blocked:])
    groups = 1 if is_one_group else tf.shape(flat[-1])[0]
    in_group = count // groups
    learning = [n for n, x in enumerate(flat) if x.dtype.is_floating]
    learning_own = [n for n in learning if n < count_blocked]
    learning_shared = [n for n in learning if n >= count_blocked]

    def block_of(tensors, number):
        group = 0 if is_one_group else number // in_group
        return [
            parted[n].part(x, number) if n in parted else x[number if n < count_blocked else group]
            for n, x in enumerate(tensors)
        ]

    def unstacked(n, x, stack):
        """The gradient by a tensor of that by its parts, which is their sum where they overlap."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            parts = parted[n].stack(x)
        return tape.gradient(parts, x, stack)

    def computed(tensors, known=None):
        return compute(*keras.tree.pack_sequence_as(structure, tensors), known)

    def walk(count, step, state, *dtypes, at_once):
        """What `step(number, state)` gives for each number, stacked, and the last state."""
        arrays = [tf.TensorArray(dtype, count) for dtype in dtypes]

        def body(number, arrays, state):
            found, state = step(number, state)
            arrays = [a.write(number, x) for a, x in zip(arrays, found, strict=True)]
            return number + 1, arrays, state

        _, arrays, state = tf.while_loop(
            lambda number, *_: number < count,
            body,
            (0, arrays, state),
            parallel_iterations=at_once,
        )
        return [array.stack() for array in arrays], state

    @tf.custom_gradient
    def stacked(*tensors):
        def forward(number, state):
            return [computed(block_of(tensors, number))], state

        # Two at a time: while one block waits for memory the other can multiply. The gradient
        # holds more of each, and takes two only of groups, whose blocks are smaller.
        (context,), _ = walk(count, forward, [], dtype, at_once=2)

        def backward(upstream):
            dtypes = [tensors[n].dtype for n in learning_own]
            # Sums of many blocks, which half precision could not hold.
            dtypes_of_sums = [
                tf.float64 if tensors[n].dtype == tf.float64 else tf.float32
                for n in learning_shared
            ]

            def differentiate(number, sums):
                block = block_of(tensors, number)
                watched = [block[n] for n in learning]
                with tf.GradientTape() as tape:
                    tape.watch(watched)
                    found = computed(block, context[number])
                gradients = tape.gradient(
                    found, watched, upstream[number], unconnected_gradients="zero"
                )
                own, rest = gradients[: len(learning_own)], gradients[len(learning_own) :]
                return own, [s + tf.cast(g, s.dtype) for s, g in zip(sums, rest, strict=True)]

            def differentiate_group(group, state):
                sums = [
                    tf.zeros(tf.shape(tensors[n])[1:], dtype)
                    for n, dtype in zip(learning_shared, dtypes_of_sums, strict=True)
                ]
                stacks, sums = walk(
                    in_group,
                    lambda number, sums: differentiate(group * in_group + number, sums),
                    sums,
                    *dtypes,
                    at_once=1,
                )
                return [*stacks, *sums], state

            if is_one_group:
                found = [x[None] for x in differentiate_group(0, [])[0]]
            else:
                found, _ = walk(
                    groups, differentiate_group, [], *dtypes, *dtypes_of_sums, at_once=2
                )
            gradients = dict(zip(learning, found, strict=True))
            for n in learning_own:
                x = gradients[n]
                gradients[n] = tf.reshape(x, tf.concat([[count], tf.shape(x)[2:]], 0))
            for n in parted.keys() & gradients.keys():
                gradients[n] = unstacked(n, tensors[n], gradients[n])
            return [
                tf.cast(gradients[n], x.dtype) if n in gradients else None
                for n, x in enumerate(tensors)
            ]

        return context, backward

    return stacked(*flat)


def branch(condition, yes, no, tensors, seed, variables):
    """`yes(tensors, seed)` or `no(tensors, seed)` on TensorFlow, for a drawn seed or `None`.

    What one branch computes for its gradient the other would have to give as well, which does not
    compile: so each computes its gradient within itself.
    """
    import tensorflow as tf

    structure = tensors, [ops.convert_to_tensor(variable.value) for variable in variables]
    flat = [ops.convert_to_tensor(x) for x in keras.tree.flatten(structure)]
    learning = [n for n, x in enumerate(flat) if x.dtype.is_floating]

    def computed(way, flat):
        tensors, values = keras.tree.pack_sequence_as(structure, flat)
        with variables_as(variables, values):
            return way(tensors, None if seed is None else BlockSeed(seed, 0))

    @tf.custom_gradient
    def chosen(*flat):
        def backward(upstream):
            def differentiate(way):
                copies = [tf.identity(x) for x in flat]
                watched = [copies[n] for n in learning]
                with tf.GradientTape() as tape:
                    tape.watch(watched)
                    found = computed(way, copies)
                return tape.gradient(found, watched, upstream, unconnected_gradients="zero")

            found = tf.cond(condition, lambda: differentiate(yes), lambda: differentiate(no))
            found = dict(zip(learning, found, strict=True))
            return [found.get(n) for n in range(len(flat))]

        known = []  # of the shape, which one branch may know better than the other

        def forward(way):
            found = computed(way, flat)
            known.append(found.shape)
            return found

        context = tf.cond(condition, lambda: forward(yes), lambda: forward(no))
        for shape in known:
            context.set_shape(shape)
        return context, backward

    return chosen(*flat)


def variables_as(variables, values):
    """Within this context the variables have these values."""
    mapping = list(zip(variables, values, strict=True))
    return keras.StatelessScope(mapping) if mapping else contextlib.nullcontext()


def to_front(x):
    """`(..., N, L, _)` to `(N, ..., L, _)`."""
    axes = list(range(len(x.shape)))
    return ops.transpose(x, [axes.pop(-3), *axes])


class BlockSeed(keras.random.SeedGenerator):
    """Seeds of one block: the same when it is computed again, and others for each draw in it."""

    def __init__(self, base, number):
        self._base, self._number, self._draws = base, number, 0

    def next(self, ordered=True):
        # Calls count up the second of the two numbers; blocks and draws count up the first.
        place = ops.stack([8 * ops.cast(self._number, "int32") + self._draws, 0])
        self._draws += 1
        return self._base + ops.cast(place, self._base.dtype)
