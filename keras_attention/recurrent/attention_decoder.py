"""A recurrent decoder that attends to a memory at every step."""

import contextlib
import inspect

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import TracedLayer
from keras_attention.recurrent.base import RecurrentAttention, recurrent
from keras_attention.recurrent.time_loop import hold, time_loop

ORDERS = ("luong", "bahdanau")


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionDecoder(TracedLayer):
    """Any recurrent cell, attending to a memory (an encoder's steps) at each of its own steps.

    Luong's order runs the cell first and asks the memory with what it gave:

        h_t, s_t = cell([x_t; a_{t-1}], s_{t-1});  c_t = attention(h_t, memory)
        a_t = tanh(W_c [c_t; h_t]),                W_c: (M + D_cell, A),          output a_t

    Bahdanau's asks first, with the previous step's h, and the context enters the cell:

        c_t = attention(h_{t-1}, memory);  h_t, s_t = cell([x_t; c_t], s_{t-1}),  output h_t

    The output goes into a layer over the vocabulary. In training all inputs are given (teacher
    forcing); to decode, take one step after the other:

        state = decoder.initial_state(memory, memory_mask)
        output, weights, state = decoder.step(x, state)                            x: (B, D)

    The state is a structure of tensors whose first axis is the batch, the memory among them, so
    that `beam_search` can pick its rows. What depends on the memory alone, such as projected keys,
    is computed once. Costs O(B S) memory a step for the weights, and O(B T S) if they are returned.

    Masking: a masked input step gives zeros, and the state passes it by unchanged; a masked memory
    step is invisible. The inputs' mask is passed on.

    Args:
        cell: A Keras cell: `GRUCell`, `LSTMCell`, `SimpleRNNCell`, `StackedRNNCells` or one of
            your own. Its dropout masks are drawn once a sequence, as in `keras.layers.RNN`.
        attention: The attention: `ContentAttention` with any score, one with a past (a
            `RecurrentAttention`), or any layer that treats its queries alike, such as
            `MultiHeadAttention`. With the same dtype policy as the decoder.
        attention_size: Positive integer A, the size of the attentional vector; `None` for the
            size of the cell's output. In Bahdanau's order `None` leaves this layer out.
        input_feeding: Whether a_{t-1} is fed to the cell with the input (Luong's order). Without
            it training is faster: no step waits for the attention of the one before.
        order: `"luong"` or `"bahdanau"`.
        activation: Activation of the attentional vector, tanh in the paper; `None` for none.
        kernel_initializer: Initializer of W_c.

    Call arguments:
        inputs: Float tensor `(B, T, D)`, the embedded tokens before each output.
        memory: Float tensor `(B, S, M)`.
        initial_state: The cell's first state, as `cell.get_initial_state` gives it, a tensor or a
            structure of tensors `(B, _)`, often the encoder's last; `None` for zeros.
        inputs_mask: Boolean `(B, T)`; Keras fills it from the inputs' implicit mask.
        memory_mask: Boolean `(B, S)`; Keras fills it from the memory's implicit mask.
        return_attention_scores: Whether to return the weights too (Keras' name for them).
        return_state: Whether to return the cell's last state too.
        training: Whether cell and attention drop and draw.

    Returns:
        The outputs `(B, T, A)`, or `(B, T, D_cell)` in Bahdanau's order without `attention_size`;
        then, where asked for, the weights `(B, T, S)` and the state.

    Example:
        >>> decoder = ka.AttentionDecoder(keras.layers.GRUCell(7), ka.ContentAttention("additive"))
        >>> inputs, memory = keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 6))
        >>> outputs, weights = decoder(inputs, memory, return_attention_scores=True)
        >>> tuple(outputs.shape), tuple(weights.shape)
        ((2, 3, 7), (2, 3, 5))
        >>> output, weights, state = decoder.step(inputs[:, 0], decoder.initial_state(memory))
        >>> tuple(output.shape), tuple(weights.shape)
        ((2, 7), (2, 5))

    Reference:
        Luong, Pham & Manning, 2015, eq. 5 and section 3.3, https://arxiv.org/abs/1508.04025
        As in the paper.
        Bahdanau, Cho & Bengio, 2015, eq. 4 to 6 and appendix A, https://arxiv.org/abs/1409.0473
        The cell is Keras' own; the paper's output layer (maxout) is left to the user.
    """

    def __init__(
        self,
        cell,
        attention,
        attention_size=None,
        input_feeding=True,
        order="luong",
        activation="tanh",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not hasattr(cell, "state_size") or not callable(cell):
            raise ValueError(
                "`cell` must be a recurrent cell, with a `state_size`, such as "
                f"`keras.layers.GRUCell`. Received: cell={cell!r}"
            )
        if not isinstance(attention, keras.layers.Layer):
            raise ValueError(
                f"`attention` must be an attention layer. Received: attention={attention!r}"
            )
        if order not in ORDERS:
            raise ValueError(
                f"`order` must be one of {', '.join(map(repr, ORDERS))}. Received: order={order!r}"
            )
        if order == "bahdanau" and not input_feeding:
            raise ValueError(
                "Bahdanau's order always feeds the context to the cell. Received: "
                f"order={order!r}, input_feeding={input_feeding!r}"
            )
        _check_call(attention)
        recurrent(attention)  # or an error
        self.uses_cell_state = getattr(attention, "uses_cell_state", False)
        if order == "bahdanau" and self.uses_cell_state:
            raise ValueError(
                f"`{type(attention).__name__}` reads the cell after it ran, which Bahdanau's order "
                f"runs last. Received: order={order!r}"
            )
        self.supports_masking = True
        self.cell = cell
        self.attention = attention
        self.attention_size = checks.positive_integer(
            "attention_size", attention_size, optional=True
        )
        self.input_feeding = bool(input_feeding)
        self.order = order
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, inputs_shape, memory_shape=None):
        checks.sequence("inputs", inputs_shape)
        if memory_shape is None:
            raise ValueError(
                f"`{self.name}` must be called with a memory, the steps to attend to. Received: "
                f"inputs_shape={tuple(inputs_shape)}, memory=None"
            )
        checks.sequence("memory", memory_shape)
        for part in (self.cell, self.attention):
            if part.compute_dtype != self.compute_dtype:
                raise ValueError(
                    f"`{part.name}` must compute in the decoder's dtype. Received: "
                    f"{part.compute_dtype} there, {self.compute_dtype} in the decoder"
                )
        batch, size = inputs_shape[0], _output_size(self.cell)
        attentional_size = self.attention_size or size
        query_shape = (batch, None, size)
        if not self.uses_cell_state and not self.attention.built:  # a loaded one comes built
            self.attention.build(query_shape, memory_shape)
        context_size = self._context_size(query_shape, memory_shape)
        if self.order == "bahdanau":
            self.fed_size = context_size
        else:
            self.fed_size = attentional_size if self.input_feeding else 0
        self.cell_input_size = inputs_shape[-1] + self.fed_size
        if self.uses_cell_state and not self.attention.built:
            states = [(batch, s) for s in keras.tree.flatten(self.cell.state_size)]
            cell_state_shape = {
                "inputs": (batch, self.cell_input_size),
                "previous": states,
                "current": states,
            }
            self.attention.build(query_shape, memory_shape, cell_state_shape=cell_state_shape)
        if not self.cell.built:
            self.cell.build((batch, self.cell_input_size))
            self.cell.built = True
        self.attentional_dense = None
        if self.order == "luong" or self.attention_size:
            self.attentional_dense = keras.layers.Dense(
                attentional_size,
                activation=self.activation,
                use_bias=False,
                kernel_initializer=self.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name="attentional",
            )
            self.attentional_dense.build((batch, context_size + size))
        self.memory_size = memory_shape[-1]
        self.built = True

    def call(
        self,
        inputs,
        memory=None,
        initial_state=None,
        inputs_mask=None,
        memory_mask=None,
        return_attention_scores=False,
        return_state=False,
        training=None,
    ):
        inputs = masks.blank(inputs, masks.of_steps("inputs", inputs, inputs_mask=inputs_mask))
        if self._feeds or self.uses_cell_state:
            outputs, weights, cell = self._attend_in_the_loop(
                inputs, memory, initial_state, inputs_mask, memory_mask, training
            )
        else:
            outputs, weights, cell = self._attend_after_the_loop(
                inputs, memory, initial_state, inputs_mask, memory_mask, training
            )
        found = [outputs]
        if return_attention_scores:
            found.append(weights)
        if return_state:
            found.append(cell)
        return tuple(found) if len(found) > 1 else outputs

    def initial_state(self, memory, memory_mask=None, cell_state=None):
        """The state before the first `step`.

        Args:
            memory: Float tensor `(B, S, M)`.
            memory_mask: Boolean `(B, S)` or `None`.
            cell_state: As `initial_state` in the call.

        Returns:
            A dict of structures of tensors `(B, ...)`.
        """
        self._check_memory(memory)
        memory_mask = masks.of_steps("memory", memory, memory_mask=memory_mask)
        memory = ops.cast(memory, self.compute_dtype)
        batch = ops.shape(memory)[0]
        attention = recurrent(self.attention)
        prepared = attention.prepare(memory, mask=memory_mask)
        cell_state = self._cell_state(batch, cell_state)
        state = {
            "memory": prepared,
            "cell": cell_state,
            "attention": attention.initial_state(prepared),
        }
        if self.order == "bahdanau":
            state["output"] = self._first_output(batch, cell_state)
        elif self.input_feeding:
            state["fed"] = ops.zeros((batch, self.fed_size), self.compute_dtype)
        return state

    def step(self, inputs, state):
        """One step of decoding.

        Args:
            inputs: Float tensor `(B, D)`.
            state: As `initial_state` or the step before gave it.

        Returns:
            The output `(B, A)`, the weights `(B, S)` and the next state.
        """
        state = dict(state)
        if "memory" not in state:
            raise ValueError(
                "`state` must be what `initial_state` or the step before returned. Received: "
                f"a dict of {sorted(state)}"
            )
        memory = state.pop("memory")
        inputs = ops.cast(inputs, self.compute_dtype)
        hidden, context, weights, state = self._step(inputs, memory, state, training=False)
        output = state["fed"] if "fed" in state else self._output(hidden, context)
        return output, weights, {**state, "memory": memory}

    def get_config(self):
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "attention": keras.saving.serialize_keras_object(self.attention),
            "attention_size": self.attention_size,
            "input_feeding": self.input_feeding,
            "order": self.order,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config):
        parts = {k: keras.saving.deserialize_keras_object(config[k]) for k in ("cell", "attention")}
        return cls(**{**config, **parts})

    def _check_memory(self, memory):
        if not self.built:
            raise ValueError(f"Build or call the layer {self.name!r} before it decodes")
        shape = memory.shape
        if len(shape) != 3 or shape[-1] != self.memory_size:
            raise ValueError(
                f"`memory` must have the shape (batch, steps, {self.memory_size}) that the layer "
                f"{self.name!r} was built with. Received: memory.shape={tuple(shape)}"
            )

    @property
    def _feeds(self):
        """Whether something of the attention enters the cell."""
        return self.order == "bahdanau" or self.input_feeding

    def _attend_in_the_loop(self, inputs, memory, cell, inputs_mask, memory_mask, training):
        state = self.initial_state(memory, memory_mask, cell)
        memory = state.pop("memory")  # the same at every step: not carried through the loop

        def step(x, state):
            hidden, context, weights, state = self._step(x, memory, state, training)
            if "fed" in state:
                return (state["fed"], weights), state
            return (hidden, weights, context), state

        (hidden, weights, *context), state = self._loop(step, inputs, inputs_mask, state, training)
        recurrent(self.attention).finish(state["attention"])
        if len(weights.shape) > 3:  # (B, T, H, S) to (B, H, T, S)
            weights = ops.swapaxes(weights, 1, 2)
        outputs = self._output(hidden, *context) if context else hidden
        return masks.blank(outputs, inputs_mask), weights, state["cell"]

    def _attend_after_the_loop(self, inputs, memory, cell, inputs_mask, memory_mask, training):
        """Where nothing is fed, the cell needs no attention: all its steps can ask at once."""
        hidden, cell = self._loop(
            lambda x, state: self._run_cell(x, state, training),
            inputs,
            inputs_mask,
            self._cell_state(ops.shape(inputs)[0], cell),
            training,
        )
        context, weights = self.attention(
            hidden,
            memory,
            query_mask=inputs_mask,
            value_mask=memory_mask,
            return_attention_scores=True,
            training=training,
        )
        return masks.blank(self._output(hidden, context), inputs_mask), weights, cell

    def _loop(self, step, inputs, mask, state, training):
        """`time_loop` whose masked steps give zeros and leave the state as it is."""

        def masked(inputs, state):
            x, mask = inputs
            found, new = step(x, state)
            nothing = keras.tree.map_structure(ops.zeros_like, found)
            return hold(mask, found, nothing), hold(mask, new, state)

        draws = training and any(_draws(part) for part in (*_cells(self.cell), self.attention))
        if training:
            self._draw_dropout_masks(ops.shape(inputs)[0])
        try:
            layer = self if draws else None
            return time_loop(masked, (inputs, mask), state, layer=layer, training=bool(training))
        finally:
            self._forget_dropout_masks()

    def _step(self, x, memory, state, training):
        """What the cell gives, the context, the weights and the next state."""
        attention = recurrent(self.attention)
        if self.order == "bahdanau":
            context, weights, past = attention.step(
                state["output"], memory, state["attention"], training=training
            )
            hidden, cell = self._run_cell(_concat(x, context), state["cell"], training)
            return hidden, context, weights, {"cell": cell, "attention": past, "output": hidden}

        x = _concat(x, state["fed"]) if self.input_feeding else x
        hidden, cell = self._run_cell(x, state["cell"], training)
        hook = {}
        if self.uses_cell_state:
            previous, current = keras.tree.flatten(state["cell"]), keras.tree.flatten(cell)
            hook = {"cell_state": {"inputs": x, "previous": previous, "current": current}}
        context, weights, past = attention.step(
            hidden, memory, state["attention"], training=training, **hook
        )
        new = {"cell": cell, "attention": past}
        if self.input_feeding:
            new["fed"] = self._output(hidden, context)
        return hidden, context, weights, new

    def _output(self, hidden, context):
        if self.attentional_dense is None:
            return hidden
        return self.attentional_dense(_concat(context, hidden))  # eq. 5 of Luong 2015

    def _run_cell(self, x, state, training):
        takes_training = "training" in inspect.signature(self.cell.call).parameters
        kwargs = {"training": training} if takes_training else {}
        with contextlib.nullcontext() if training else _no_dropout(self.cell):
            output, new = self.cell(x, state, **kwargs)
        # Cells are free to return another kind of structure than they were given.
        return output, keras.tree.pack_sequence_as(state, keras.tree.flatten(new))

    def _cell_state(self, batch, given):
        """The cell's first state in its own structure."""
        if hasattr(self.cell, "get_initial_state"):
            state = self.cell.get_initial_state(batch_size=batch)
        else:
            sizes = keras.tree.flatten(self.cell.state_size)
            state = [ops.zeros((batch, size), self.compute_dtype) for size in sizes]
        state = list(state) if isinstance(state, (list, tuple)) else [state]
        if given is None:
            return state
        given = [ops.convert_to_tensor(x) for x in keras.tree.flatten(given)]
        wanted = [(None, x.shape[-1]) for x in keras.tree.flatten(state)]
        if [(None, *x.shape[1:]) for x in given] != wanted:
            raise ValueError(
                f"`initial_state` must fit the cell's state, {wanted}. "
                f"Received: shapes {[tuple(x.shape) for x in given]}"
            )
        given = [ops.cast(x, self.compute_dtype) for x in given]
        return keras.tree.pack_sequence_as(state, given)

    def _first_output(self, batch, cell_state):
        """What the cell gave before the first step: in Keras' cells the first tensor of a state."""
        last = cell_state[-1] if hasattr(self.cell, "cells") else cell_state
        first, size = keras.tree.flatten(last)[0], _output_size(self.cell)
        return first if first.shape[-1] == size else ops.zeros((batch, size), self.compute_dtype)

    def _context_size(self, query_shape, memory_shape):
        if isinstance(self.attention, RecurrentAttention):
            return memory_shape[-1]
        return self.attention.compute_output_shape(query_shape, memory_shape)[-1]

    def _draw_dropout_masks(self, batch):
        """Keras' cells keep one dropout mask a sequence: it must not be drawn inside the loop."""
        size = self.cell_input_size
        for cell in _cells(self.cell):
            if hasattr(cell, "get_dropout_mask"):
                state_size = keras.tree.flatten(cell.state_size)[0]
                cell.get_dropout_mask(ops.ones((batch, size), self.compute_dtype))
                cell.get_recurrent_dropout_mask(ops.ones((batch, state_size), self.compute_dtype))
            size = _output_size(cell)

    def _forget_dropout_masks(self):
        for cell in _cells(self.cell):
            if hasattr(cell, "reset_dropout_mask"):
                cell.reset_dropout_mask()
                cell.reset_recurrent_dropout_mask()


@contextlib.contextmanager
def _no_dropout(cell):
    """Without its rates a Keras cell draws no mask: some do so out of training, inside a loop."""
    cells = [c for c in _cells(cell) if hasattr(c, "get_dropout_mask")]
    rates = [(c.dropout, c.recurrent_dropout) for c in cells]
    for c in cells:
        c.dropout = c.recurrent_dropout = 0.0
    try:
        yield
    finally:
        for c, (rate, recurrent_rate) in zip(cells, rates, strict=True):
            c.dropout, c.recurrent_dropout = rate, recurrent_rate


def _check_call(attention):
    if isinstance(attention, RecurrentAttention):
        return
    arguments = list(inspect.signature(attention.call).parameters)
    if arguments[:2] != ["query", "value"] or "return_attention_scores" not in arguments:
        raise ValueError(
            "`attention` must be a layer called with `(query, value)` that can return its weights. "
            f"Received: attention={attention!r}, called with ({', '.join(arguments)})"
        )


def _cells(cell):
    return getattr(cell, "cells", [cell])


def _output_size(cell):
    size = getattr(cell, "output_size", None)
    return size if isinstance(size, int) else keras.tree.flatten(cell.state_size)[0]


def _draws(layer):
    """Whether a step may draw random numbers, or change what is not trained."""
    return not hasattr(layer, "get_dropout_mask") and bool(layer.non_trainable_variables)


def _concat(*tensors):
    return ops.concatenate(tensors, axis=-1)
