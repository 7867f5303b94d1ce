"""Attention in blocks of queries, for scores that are too large to exist at once."""

import contextlib
import contextvars
import dataclasses
import math

import keras
from keras import ops

from keras_attention.functional.for_tflite import is_for_tflite
from keras_attention.functional.under_xla import is_under_xla

# Bytes of scores: from how many on they are computed in blocks, and how many a block may have.
# Measured (docs/performance.md): smaller blocks are slower, larger ones not faster.
THRESHOLD = 64 * 2**20
BLOCK = 16 * 2**20
_FEWEST_ROWS = 16
# Heads go one by one, for more rows at a time in as much memory, which is faster; but not those so
# small that more than so many would make up a block.
_MOST_HEADS = 16

_sizes = contextvars.ContextVar("sizes", default=(THRESHOLD, BLOCK))


@contextlib.contextmanager
def query_blocks(threshold=THRESHOLD, block=BLOCK):
    """Within this context attention that is traced goes in blocks of queries by these sizes.

    Layers do so by themselves where scores are large; this is for measuring, or for machines with
    much or little memory. Results are the same but for rounding.

    Args:
        threshold: Bytes of scores from which on blocks are used, or `None` for never (and never a
            fused kernel either).
        block: Bytes of scores in a block. With very many keys it is larger: it has at least two
            queries for each feature of a value, under XLA four.

    Example:
        >>> x = keras.ops.ones((1, 64, 8))
        >>> layer = ka.SelfAttention()
        >>> whole = layer(x)
        >>> with ka.query_blocks(threshold=0, block=4096):
        ...     blocked = layer(x)
        >>> bool(keras.ops.all(keras.ops.isclose(whole, blocked)))
        True
    """
    token = _sizes.set((threshold, block))
    try:
        yield
    finally:
        _sizes.reset(token)


def is_on():
    """Whether attention that is traced now may go by other ways than as a whole."""
    return _sizes.get()[0] is not None and not is_for_tflite()  # which has no loop over blocks


def walk(
    rows,
    query,
    keys,
    first,
    query_mask,
    rule,
    seed,
    pair_size,
    is_relative,
    variables,
    turns_key,
):
    """The context of `attend`, whole where scores are small and in blocks where they are large.

    Args:
        rows: Function `(query, start, parts, query_mask, seed, in_block=False, known=None)` to the
            context of some queries, the first of which has the number `start`, over a list of
            `Keys`; `known` is that context, where its gradient alone is wanted.
        keys: The `Keys`, all of them.
        query, first, query_mask, rule, seed, pair_size, is_relative, variables: As for `attend`.
        turns_key: Whether `rows` takes `Keys` that are turned.

    Returns:
        The context `(..., T, D_value)`.
    """

    def whole(tensors, seed):
        query, key, value = tensors
        return rows(
            query, first, [dataclasses.replace(keys, key=key, value=value)], query_mask, seed
        )

    tensors = query, keys.key, keys.value
    *lead, steps, _ = ops.shape(query)
    if not lead:
        return whole(tensors, seed)
    block = _sizes.get()[1]
    length = ops.shape(keys.value)[-2]
    row = [*lead, length, 4 * pair_size]  # bytes of a query's scores
    band = _band(rule, keys, lead, length, block) if is_relative else None
    heads_apart = not band and turns_key and _go_apart(query, keys, block)
    if isinstance(steps, int) and steps <= _FEWEST_ROWS and not band:
        return whole(tensors, seed)  # no block is smaller: a step of a decoder, a pooling

    def in_blocks(tensors, seed):
        in_block = band
        if not band:
            # So many rows at a time take about as much memory as keys and values themselves do.
            features = keys.value.shape[-1] or 1
            fewest = max(_FEWEST_ROWS, (4 if is_under_xla() else 2) * features // pair_size)
            bytes_of_row = _product(row[len(lead) :] if heads_apart else row)
            if isinstance(bytes_of_row, int):
                in_block = max(fewest, block // bytes_of_row)
            else:
                fitting = ops.clip(block / bytes_of_row, fewest, 2**30)
                in_block = ops.cast(fitting, "int32")
        if isinstance(in_block, int) and isinstance(steps, int):
            if in_block >= steps and not (band or heads_apart):
                return whole(tensors, seed)
            # Of about the same size, so that the last one is no waste.
            in_block = math.ceil(steps / math.ceil(steps / in_block))
        query, key, value = tensors
        some = dataclasses.replace(keys, key=key, value=value)
        walked = _Blocks(rows, query, some, first, query_mask, rule, seed, variables, in_block)
        if heads_apart:
            return walked.of_heads()
        return walked.in_bands() if band else walked.of_queries(turns_key)

    return when_large([*row, steps], in_blocks, whole, tensors, seed, variables)


def _go_apart(query, keys, block):
    """Whether dot products go head by head, and example by example."""
    if keras.backend.backend() != "tensorflow":
        return False
    *lead, steps, _ = query.shape
    *own, length, _ = keys.key.shape
    if not (isinstance(steps, int) and isinstance(length, int)):
        return False
    # Keys that a group of heads shares have one for all of the last axis.
    is_alike = own == list(keys.value.shape[:-2]) and own in (lead, [*lead[:-1], 1])
    return is_alike and 4 * steps * length * _MOST_HEADS >= block


def when_large(sizes, sparing, whole, tensors, seed=None, variables=(), only_if=True):
    """What `sparing` computes where the product of sizes, in bytes, is large, else `whole`.

    Args:
        sizes: List of integers or scalar tensors.
        sparing, whole: Functions of `(tensors, seed)` to the same tensor.
        tensors: Structure of tensors, all that is differentiated but variables.
        seed: `SeedGenerator` or `None`.
        variables: List of the variables that both read.
        only_if: Boolean or scalar tensor, a further condition.
    """
    threshold, _ = _sizes.get()
    total = _product(sizes)
    if not is_on() or only_if is False or (isinstance(total, int) and total < threshold):
        return whole(tensors, seed)
    if isinstance(total, int) and only_if is True:
        return sparing(tensors, seed)
    if keras.backend.backend() != "tensorflow":
        return whole(tensors, seed)  # a symbolic length: the model is being exported
    if seed is not None:
        seed = BlockSeed(seed.next(), 0)  # drawn before the branches part
    is_large = ops.logical_and(total >= threshold, only_if)
    return _branch(is_large, sparing, whole, tensors, seed, list(variables))


def _product(sizes, dtype="float32"):
    """The product as an integer, or where only the run knows it in a dtype that holds it."""
    if all(isinstance(size, int) for size in sizes):
        return math.prod(sizes)
    return math.prod(x if isinstance(x, int) else ops.cast(x, dtype) for x in sizes)


def _band(rule, keys, lead, length, block):
    """Queries in a block whose keys are those near them, or `None` for all keys."""
    if rule is None or rule.window is None:
        return None
    if keys.has_pair_mask:
        return None  # it is as large as what a band would save
    rows = max(_FEWEST_ROWS, rule.window)
    if all(isinstance(size, int) for size in lead):
        fitting = block // (4 * math.prod(lead) * (rows + rule.halo))
        rows = max(rows // 4, _FEWEST_ROWS, min(rows, fitting))
    seen = rows + rule.halo + rule.num_global
    return None if isinstance(length, int) and seen >= length else rows


@dataclasses.dataclass
class _Blocks:
    """A walk over blocks of queries. What a block computed is not kept for the gradient, but
    computed again.
    """

    rows: object
    query: object
    keys: object
    first: object
    query_mask: object
    rule: object
    seed: object
    variables: object
    length: object  # queries in a block

    def __post_init__(self):
        self.steps = ops.shape(self.query)[-2]
        self.count = (self.steps + self.length - 1) // self.length

    def of_queries(self, turns_key):
        """The context, each block over all keys."""
        keys, blocks = self.keys, {}
        if turns_key:
            # Once, where XLA would copy them for each block.
            key = ops.swapaxes(keys.key, -2, -1)
            keys = dataclasses.replace(keys, key=key, is_turned=True)
        if keys.has_pair_mask:
            blocks["mask"] = self._split(keys.mask)
        blocks |= self._of_all_queries()

        def parts(block, shared):
            key, value = shared
            mask = block.get("mask", keys.mask)
            return [dataclasses.replace(keys, key=key, value=value, mask=mask)]

        return self._join(self._walk(parts, blocks, (keys.key, keys.value)))

    def of_heads(self):
        """The context, each block some queries of one head over its keys, which are turned."""
        keys = self.keys
        *lead, _, size = ops.shape(self.query)
        own = [*lead[:-1], 1] if keys.key.shape[-3] == 1 else lead
        shared = [
            ops.reshape(_broadcast(x, own), (-1, 1, *ops.shape(x)[-2:]))
            for x in (ops.swapaxes(keys.key, -2, -1), keys.value)
        ]
        total = _product([*lead, self.count], "int32")
        blocks = {
            "query": ops.reshape(self._padded(self.query), (total, 1, self.length, size)),
            "number": ops.arange(total, dtype="int32") % self.count * self.length,
        }
        masks = {"mask": keys.mask, "query_mask": self.query_mask}
        blocks |= {k: self._by_head(x, lead) for k, x in masks.items() if x is not None}

        def parts(block, shared):
            key, value = shared
            return [
                dataclasses.replace(
                    keys, key=key, value=value, mask=block.get("mask"), is_turned=True
                )
            ]

        context = self._walk(parts, blocks, shared, heads_apart=True)
        context = ops.reshape(context, (*lead, self.count * self.length, context.shape[-1]))
        return context[..., : self.steps, :]

    def _by_head(self, mask, lead):
        """What each block of `of_heads` meets of a mask that broadcasts to `(..., T, S)`."""
        for _ in range(len(lead) + 2 - len(mask.shape)):
            mask = ops.expand_dims(mask, 0)
        *own, rows, length = ops.shape(mask)
        is_of_pairs = mask.shape[-2] != 1
        if is_of_pairs:
            mask, rows = self._padded(mask), self.length

        def place(number):
            head, place, stride = number // self.count, 0, 1
            for size, of_mask in zip(reversed(lead), reversed(own), strict=True):
                place += head % size % of_mask * stride  # 0 where the mask is one for all
                stride, head = stride * of_mask, head // size
            return place * self.count + number % self.count if is_of_pairs else place

        return _Placed(ops.reshape(mask, (-1, 1, rows, length)), place)

    def in_bands(self):
        """The context, each block over the keys in its window and those that all queries see."""
        keys, num_global = self.keys, self.rule.num_global
        total = ops.shape(keys.value)[-2]
        tensors = {"value": keys.value}
        for place, part in enumerate(keras.tree.flatten(keys.key)):
            tensors[f"key {place}"] = part
        if keys.mask is not None:
            tensors["mask"] = ops.expand_dims(keys.mask[..., 0, :], -1)  # (..., S, 1)
        blocks = {name: self._bands(x) for name, x in tensors.items()} | self._of_all_queries()
        everywhere = keras.tree.map_structure(
            lambda x: x[..., :num_global, :], (keys.key, keys.value)
        )

        def parts(block, everywhere):
            near = [block[name] for name in tensors if name.startswith("key ")]
            band = type(keys)(
                keras.tree.pack_sequence_as(keys.key, near),
                block["value"],
                ops.swapaxes(block["mask"], -1, -2) if "mask" in block else None,
                first=self.first + block["number"] - (self.rule.window - 1),
                limits=(num_global, total),
            )
            if not num_global:
                return [band]
            mask = None if keys.mask is None else keys.mask[..., :num_global]
            return [type(keys)(*everywhere, mask), band]

        context = self._join(self._walk(parts, blocks, everywhere if num_global else ()))
        if not num_global:
            return context
        # Those that are seen everywhere also see everything.
        query_mask = self.query_mask
        head = self.rows(
            self.query[..., :num_global, :],
            self.first,
            [keys],
            None if query_mask is None else query_mask[..., :num_global, :],
            self.seed,
        )
        return ops.concatenate([head, context[..., num_global:, :]], axis=-2)

    def _of_all_queries(self):
        """What the blocks hold of the queries."""
        blocks = {
            "query": self._split(self.query),
            "number": ops.arange(self.count, dtype="int32") * self.length,
        }
        if self.query_mask is not None:
            blocks["query_mask"] = self._split(self.query_mask)
        return blocks

    def _walk(self, parts_of, blocks, shared, heads_apart=False):
        """The contexts of `parts_of(block, shared)`, the keys of one of the blocks, stacked.

        With heads apart `shared` has a first axis, each entry for as many blocks as the others.
        """
        base = None if self.seed is None else self.seed.next()
        # A gradient of our own has to be told of variables.
        is_told = keras.backend.backend() == "tensorflow"
        variables = list(self.variables) if is_told else []
        values = [ops.convert_to_tensor(variable.value) for variable in variables]

        def one(block, shared, known=None):
            some, values = shared
            with _variables_as(variables, values):
                return self.rows(
                    block["query"],
                    self.first + block["number"],
                    parts_of(block, some),
                    block.get("query_mask"),
                    None if base is None else BlockSeed(base, block["number"]),
                    in_block=True,
                    known=known,
                )

        shared = shared, values
        if not heads_apart:
            shared = keras.tree.map_structure(lambda x: ops.expand_dims(x, 0), shared)
        return _each(one, blocks, shared, self.keys.value.dtype)

    def _split(self, x):
        """`(..., T, _)` to `(count, ..., length, _)`, with zeros after the last step."""
        *lead, _, size = ops.shape(x)
        x = ops.reshape(self._padded(x), (*lead, self.count, self.length, size))
        return _to_front(x)

    def _padded(self, x):
        """Zeros after the last of T steps, for the last block."""
        missing = self.count * self.length - self.steps
        return x if isinstance(missing, int) and not missing else _padded(x, 0, missing)

    def _bands(self, x):
        """`(..., S, _)` as `_Bands`: what each block of queries may see."""
        left, rows = self.rule.window - 1, self.length
        blocks = self.count + -(-self.rule.halo // rows)
        total = ops.shape(x)[-2]
        # Starts where the first query's window does, which may be before or after the first key.
        before = ops.maximum(left - self.first, 0)
        start = ops.maximum(self.first - left, 0)
        if isinstance(self.first, int):
            before, start = max(left - self.first, 0), max(self.first - left, 0)
        x = x[..., start:, :]
        after = blocks * rows - (total - start) - before
        x = _padded(x, before, max(after, 0) if isinstance(after, int) else ops.maximum(after, 0))
        return _Bands(x[..., : blocks * rows, :], self.count, rows, self.rule.halo)

    def _join(self, x):
        """`(count, ..., length, D)` to `(..., T, D)`."""
        _, *lead, _, size = ops.shape(x)
        axes = list(range(1, len(x.shape)))
        x = ops.transpose(x, [*axes[:-2], 0, *axes[-2:]])
        return ops.reshape(x, (*lead, self.count * self.length, size))[..., : self.steps, :]


@dataclasses.dataclass
class _Placed:
    """Parts of `x` on its first axis: not the `number`-th, but the `place(number)`-th."""

    x: object
    place: object

    def part(self, x, number):
        return x[self.place(number)]


@dataclasses.dataclass
class _Bands:
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
        return _to_front(ops.concatenate(parts, axis=-2))


def _branch(condition, yes, no, tensors, seed, variables):
    """`yes(tensors, seed)` or `no(tensors, seed)` on TensorFlow.

    What one branch computes for its gradient the other would have to give as well, which does not
    compile: so each computes its gradient within itself.
    """
    import tensorflow as tf

    structure = tensors, [ops.convert_to_tensor(variable.value) for variable in variables]
    flat = [ops.convert_to_tensor(x) for x in keras.tree.flatten(structure)]
    learning = [n for n, x in enumerate(flat) if x.dtype.is_floating]

    def computed(branch, flat):
        tensors, values = keras.tree.pack_sequence_as(structure, flat)
        with _variables_as(variables, values):
            return branch(tensors, seed)

    @tf.custom_gradient
    def chosen(*flat):
        def backward(upstream):
            def differentiate(branch):
                copies = [tf.identity(x) for x in flat]
                watched = [copies[n] for n in learning]
                with tf.GradientTape() as tape:
                    tape.watch(watched)
                    found = computed(branch, copies)
                return tape.gradient(found, watched, upstream, unconnected_gradients="zero")

            found = tf.cond(condition, lambda: differentiate(yes), lambda: differentiate(no))
            found = dict(zip(learning, found, strict=True))
            return [found.get(n) for n in range(len(flat))]

        known = []  # of the shape, which one branch may know better than the other

        def forward(branch):
            found = computed(branch, flat)
            known.append(found.shape)
            return found

        context = tf.cond(condition, lambda: forward(yes), lambda: forward(no))
        for shape in known:
            context.set_shape(shape)
        return context, backward

    return chosen(*flat)


def _variables_as(variables, values):
    """Within this context the variables have these values."""
    mapping = list(zip(variables, values, strict=True))
    return keras.StatelessScope(mapping) if mapping else contextlib.nullcontext()


def _each(compute, blocks, shared, dtype):
    """Stacks `compute(block, shared)`, of a dtype, over the first axis of the tensors in `blocks`
    and the parts of its `_Bands`.

    Each entry on the first axis of `shared` is for equally many of the blocks. The gradient keeps
    nothing of a block but the result, which `compute` is given when it computes the rest again.
    """
    if keras.backend.backend() != "tensorflow":
        stacked = {k: v.stack(v.x) if isinstance(v, _Bands) else v for k, v in blocks.items()}
        shared = keras.tree.map_structure(lambda x: x[0], shared)
        return ops.map(lambda block: keras.remat(compute)(block, shared), stacked)
    import tensorflow as tf

    # TensorFlow's own gradient of a loop keeps what the loop's steps computed, and of one inside a
    # branch it does not compile.
    structure, flat = (blocks, shared), keras.tree.flatten((blocks, shared))
    parted = {n: x for n, x in enumerate(flat) if isinstance(x, _Bands | _Placed)}
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
        # holds more of each, and takes one.
        (context,), _ = walk(count, forward, [], dtype, at_once=2)

        def backward(upstream):
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
                # Sums of many blocks, which half precision could not hold.
                sums = [tf.zeros(tf.shape(tensors[n])[1:], tf.float32) for n in learning_shared]
                stacks, sums = walk(
                    in_group,
                    lambda number, sums: differentiate(group * in_group + number, sums),
                    sums,
                    *[tensors[n].dtype for n in learning_own],
                    at_once=1,
                )
                return [*stacks, *sums], state

            dtypes = [tensors[n].dtype for n in learning_own]
            dtypes += [tf.float32] * len(learning_shared)
            if is_one_group:
                found = [x[None] for x in differentiate_group(0, [])[0]]
            else:
                found, _ = walk(groups, differentiate_group, [], *dtypes, at_once=2)
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


def _padded(x, before, after):
    """Zeros before and after the steps of `(..., S, _)`."""
    return ops.pad(x, [[0, 0]] * (len(x.shape) - 2) + [[before, after], [0, 0]])


def _broadcast(x, lead):
    """`(..., S, _)` with the axes `lead` before the last two."""
    if list(x.shape[:-2]) == lead:
        return x
    return ops.broadcast_to(x, (*lead, *ops.shape(x)[-2:]))


def _to_front(x):
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
