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

    A tensor in `shared` has a first axis: an entry for all blocks, or one for each group of equally
    many. The gradient keeps nothing of a block but the result, which `compute` is given when it
    computes the rest again.
    """
    if keras.backend.backend() != "tensorflow":
        stacked = {k: v.stack(v.x) if isinstance(v, Bands) else v for k, v in blocks.items()}
        # The gradient by what is shared is summed over all blocks, in the dtype that is handed in.
        dtypes = keras.tree.map_structure(lambda x: x.dtype, shared)
        shared = keras.tree.map_structure(lambda x: ops.cast(x[0], _summed(x.dtype)), shared)

        def one(block, shared):
            return compute(block, keras.tree.map_structure(ops.cast, shared, dtypes))

        return ops.map(lambda block: keras.remat(one)(block, shared), stacked)
    import tensorflow as tf

    loops = _Loops(compute, blocks, shared, dtype)

    @tf.custom_gradient
    def stacked(*tensors):
        context = loops.forward(tensors)
        return context, lambda upstream: loops.backward(tensors, context, upstream)

    return stacked(*loops.tensors)


class _Loops:
    """`each` on TensorFlow, by loops with a gradient of our own: TensorFlow's keeps what the loop's
    steps computed, and does not compile inside a branch.
    """

    def __init__(self, compute, blocks, shared, dtype):
        import tensorflow as tf

        self.compute, self.dtype = compute, dtype
        self.structure = blocks, shared
        flat = keras.tree.flatten(self.structure)
        self.first_shared = len(keras.tree.flatten(blocks))
        self.parted = {n: x for n, x in enumerate(flat) if isinstance(x, Bands | Placed)}
        self.tensors = [
            ops.convert_to_tensor(x.x if n in self.parted else x) for n, x in enumerate(flat)
        ]
        self.learning = [n for n, x in enumerate(self.tensors) if x.dtype.is_floating]
        self.learning_own = [n for n in self.learning if n < self.first_shared]
        self.learning_shared = [n for n in self.learning if n >= self.first_shared]
        self.count = tf.shape(blocks["number"])[0]
        of_groups = [x for x in self.tensors[self.first_shared :] if x.shape[0] != 1]
        self.is_one_group = not of_groups
        self.groups = tf.shape(of_groups[0])[0] if of_groups else 1
        self.in_group = self.count // self.groups

    def forward(self, tensors):
        """The contexts of all blocks, stacked."""

        def step(number, state):
            return [self._computed(self._block(tensors, number))], state

        # Two at a time: while one block waits for memory the other can multiply. The gradient
        # holds more of each, and takes two only of groups, whose blocks are smaller.
        (context,), _ = _loop(self.count, step, [], self.dtype, at_once=2)
        return context

    def backward(self, tensors, context, upstream):
        """The gradients by the tensors, `None` for those that have none."""
        dtypes = [tensors[n].dtype for n in self.learning_own]
        dtypes_of_sums = [_summed(tensors[n].dtype) for n in self.learning_shared]

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
                *dtypes,
                at_once=1,
            )
            return [*stacks, *sums], state

        if self.is_one_group:
            found = [x[None] for x in of_group(0, [])[0]]
        else:
            found, _ = _loop(self.groups, of_group, [], *dtypes, *dtypes_of_sums, at_once=2)
        gradients = dict(zip(self.learning, found, strict=True))
        for n in self.learning_own:  # (groups, blocks in a group, ...) becomes (blocks, ...)
            gradients[n] = ops.reshape(gradients[n], (self.count, *ops.shape(gradients[n])[2:]))
        for n in self.learning_shared:
            if tensors[n].shape[0] == 1 and not self.is_one_group:
                gradients[n] = ops.sum(gradients[n], axis=0, keepdims=True)
        for n in self.parted.keys() & gradients.keys():
            gradients[n] = self._unstacked(n, tensors[n], gradients[n])
        return [
            ops.cast(gradients[n], x.dtype) if n in gradients else None
            for n, x in enumerate(tensors)
        ]

    def _block(self, tensors, number):
        """What one block is computed from."""

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
            found = self._computed(block, known)
        gradients = tape.gradient(found, watched, upstream, unconnected_gradients="zero")
        count = len(self.learning_own)
        return gradients[:count], gradients[count:]

    def _unstacked(self, n, x, stack):
        """The gradient by a tensor of that by its parts, which is their sum where they overlap."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            parts = self.parted[n].stack(x)
        return tape.gradient(parts, x, stack)


def _loop(count, step, state, *dtypes, at_once):
    """What `step(number, state)` gives for each number, stacked, and the last state."""
    import tensorflow as tf

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
        maximum_iterations=count,  # without it XLA finds no gradient of a gradient
    )
    return [array.stack() for array in arrays], state


def _summed(dtype):
    """The dtype of a sum over many blocks, which half precision could not hold."""
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


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
