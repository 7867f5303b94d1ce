"""A recurrent decoder that attends to a memory at every step (Luong, Bahdanau)."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import TracedLayer
from keras_attention.recurrent import cells
from keras_attention.recurrent.base import build_attention, recurrent
from keras_attention.recurrent.decoder_state import fit_state
from keras_attention.recurrent.time_loop import hold, time_loop
from keras_attention.types import Activation, Initializer, LayerOptions, Outputs, State, Tensor

ORDERS = ("luong", "bahdanau")


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionDecoder(TracedLayer):
    """Attention decoder: a recurrent cell that attends to a memory at each step.

    The memory is usually the steps of an encoder.

    Luong's order runs the cell first, and its output is the query:

        h_t, s_t = cell([x_t; a_{t-1}], s_{t-1});  c_t = attention(h_t, memory)
        a_t = tanh(W_c [c_t; h_t]),                W_c: (M + D_cell, A),          output a_t

    Bahdanau's order attends first, with the last step's h, and the context enters the cell:

        c_t = attention(h_{t-1}, memory);  h_t, s_t = cell([x_t; c_t], s_{t-1}),  output h_t

    The output goes into a layer over the vocabulary. In training all inputs are given (teacher
    forcing); decoding goes step by step:

        state = decoder.initial_state(memory, memory_mask)
        output, weights, state = decoder.step(x, state)                            x: (B, D)

    The state is a structure of tensors whose first axis is the batch, the memory among them, so
    that `beam_search` can select rows. Projected keys, and all else that depends on the memory
    alone, are computed once. Costs O(B S) memory per step for the weights, and O(B T S) if they are
    returned.

    A long sequence may come in several calls, of one step or of many. Each continues where the last
    one stopped, and together they give the outputs of one call:

        outputs, state = decoder(first, memory, return_state=True)
        outputs, state = decoder(second, memory, initial_state=state, return_state=True)

    Masking: see the layer contract (docs/contract.md). A masked input step gives zeros and leaves
    the state unchanged. The inputs' mask is passed on.

    Args:
        cell: A Keras cell: `GRUCell`, `LSTMCell`, `SimpleRNNCell`, `StackedRNNCells` or one of
            your own. Its dropout masks are drawn once per sequence, as in `keras.layers.RNN`.
        attention: The attention: `ContentAttention` with any score; `LocalAttention`; a
            `RecurrentAttention`, whose weights depend on earlier ones; or any layer called with
            `query`, `value` and `return_attention_scores` for which the position of a query does
            not count, such as `MultiHeadAttention` without positions and without a window. It
            must have the dtype policy of the decoder.
        attention_size: Positive integer A, the size of the attentional vector; `None` for the
            size of the cell's output. In Bahdanau's order `None` leaves this layer out.
        input_feeding: Whether a_{t-1} is fed to the cell with the input (Luong's order). Without
            it training is faster: no step waits for the attention of the step before.
        order: `"luong"`, the cell before the attention, or `"bahdanau"`, the attention before the
            cell.
        activation: Activation of the attentional vector, tanh in the paper; `None` for none.
        kernel_initializer: Initializer of W_c.

    Call arguments:
        inputs: Float tensor `(B, T, D)`, the embedded tokens before each output.
        memory: Float tensor `(B, S, M)`.
        initial_state: The state that an earlier call returned; or the cell's first state alone, as
            `cell.get_initial_state` gives it, a tensor or a structure of tensors `(B, _)`, often
            the encoder's last state; `None` for zeros.
        inputs_mask, memory_mask: Boolean masks, as in the contract.
        return_attention_scores, training: As in the contract.
        return_state: Whether to return the last state too: a dict of `"cell"`, the cell's state as
            a list; `"attention"`, the state of the attention; and the tensor that enters the next
            step, `"fed"` (input feeding) or `"output"` (Bahdanau's order).

    Returns:
        The outputs `(B, T, A)`, or `(B, T, D_cell)` in Bahdanau's order without `attention_size`;
        then, where asked for, the weights `(B, T, S)` and the state.

    Raises:
        ValueError: If `cell` or `attention` is not such a layer; if the attention depends on the
            position of its query (a window, a score of positions); if `order` is unknown, or is
            Bahdanau's without input feeding or with an attention that needs the cell's states; if
            cell or attention compute in another dtype; if there is no memory, or a memory, a mask
            or a state does not fit.

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
        cell: Any,
        attention: keras.layers.Layer,
        attention_size: int | None = None,
        input_feeding: bool = True,
        order: str = "luong",
        activation: Activation = "tanh",
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
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
        batch, size = inputs_shape[0], cells.output_size(self.cell)
        attentional_size = self.attention_size or size
        query_shape = (batch, None, size)
        if self.uses_cell_state:
            context_size = memory_shape[-1]  # it is built below
        else:
            context_size = build_attention(
                self.attention, query_shape, memory_shape, self.compute_dtype
            )
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
        inputs: Tensor,
        memory: Tensor | None = None,
        initial_state: State = None,
        inputs_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_state: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Decodes a sequence whose inputs are all given, as in training; `step` decodes one token.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            inputs: Float tensor `(B, T, D)`.
            memory: Float tensor `(B, S, M)`; required.
            initial_state: The state that an earlier call returned, or the cell's first state;
                `None` for zeros.
            return_state: Whether to return the last state too.

        Returns:
            The outputs `(B, T, A)`, or `(B, T, D_cell)` without an attentional layer. A tuple of
            these, the weights `(B, T, S)` with `return_attention_scores`, and the state with
            `return_state`.

        Raises:
            ValueError: If there is no memory, or a memory or a state does not fit.
        """
        inputs, memory = self.floats(inputs, memory)
        inputs_mask = masks.of_steps("inputs", inputs, inputs_mask=inputs_mask)
        inputs = masks.blank(inputs, inputs_mask)
        if memory is not None and memory.shape[0] == 1 != inputs.shape[0]:  # one for all rows
            memory = ops.broadcast_to(memory, (ops.shape(inputs)[0], *ops.shape(memory)[1:]))
        state = self.initial_state(memory, memory_mask, initial_state)
        memory = state.pop("memory")  # the same at every step: not carried through a loop
        in_the_loop = self._feeds or self.uses_cell_state
        attend = self._attend_in_the_loop if in_the_loop else self._attend_after_the_loop
        outputs, weights, state = attend(inputs, memory, state, inputs_mask, training)
        recurrent(self.attention).finish(state["attention"])
        results = [masks.blank(outputs, inputs_mask)]
        if return_attention_scores:
            results.append(weights)
        if return_state:
            results.append(state)
        return tuple(results) if len(results) > 1 else results[0]

    def initial_state(
        self, memory: Tensor, memory_mask: Tensor | None = None, cell_state: State = None
    ) -> State:
        """The state before the first `step`.

        Args:
            memory: Float tensor `(B, S, M)`.
            memory_mask: Boolean `(B, S)`, or `None`.
            cell_state: The cell's first state, such as the encoder's last; or a whole state that a
                call returned, to continue there; or `None` for zeros.

        Returns:
            Dict of structures of tensors `(B, ...)`. `"memory"` is the prepared memory, `"cell"`
            the cell's state, `"attention"` the state of the attention; `"fed"` or `"output"`, if
            there is one, is the tensor that enters the next step.

        Raises:
            ValueError: If the layer is not built, or the memory or the state does not fit.
        """
        memory = self.floats(memory)
        self._check_memory(memory)
        memory_mask = masks.of_steps("memory", memory, memory_mask=memory_mask)
        memory = ops.cast(memory, self.compute_dtype)
        batch = ops.shape(memory)[0]
        attention = recurrent(self.attention)
        prepared = attention.prepare(memory, mask=memory_mask)
        is_whole = isinstance(cell_state, dict)
        cell = cells.first_state(self.cell, batch, self.compute_dtype)
        if cell_state is not None and not is_whole:
            cell = cells.fit_state(cell_state, cell, self.compute_dtype)
        state = {"cell": cell, "attention": attention.initial_state(prepared)}
        if self.order == "bahdanau":
            state["output"] = cells.first_output(self.cell, cell, batch, self.compute_dtype)
        elif self.input_feeding:
            state["fed"] = ops.zeros((batch, self.fed_size), self.compute_dtype)
        if is_whole:
            state = fit_state(cell_state, state)
            state["attention"] = attention.resume(state["attention"])
        return {"memory": prepared, **state}

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Decodes one step of each row.

        Args:
            inputs: Float tensor `(B, D)`, the embedded tokens.
            state: What `initial_state` or the step before returned.

        Returns:
            The output `(B, A)`, or `(B, D_cell)` without an attentional layer; the weights
            `(B, S)`; and the next state.

        Raises:
            ValueError: If `state` is something else.
        """
        if not isinstance(state, dict) or "memory" not in state:
            is_dict = isinstance(state, dict)
            raise ValueError(
                "`state` must be what `initial_state` or the step before returned. Received: "
                + (f"a dict of {sorted(state)}" if is_dict else type(state).__name__)
            )
        state = dict(state)
        memory = state.pop("memory")
        inputs = ops.cast(inputs, self.compute_dtype)
        cell = cells.of_one_call(self.cell)
        hidden, context, weights, state = self._step(cell, inputs, memory, state, training=False)
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
        shape = getattr(memory, "shape", ())
        if len(shape) != 3 or shape[-1] != self.memory_size:
            raise ValueError(
                f"`memory` must have the shape (batch, steps, {self.memory_size}) that the layer "
                f"{self.name!r} was built with. Received: memory.shape={tuple(shape)}"
            )

    @property
    def _feeds(self):
        """Whether the context or the attentional vector enters the cell."""
        return self.order == "bahdanau" or self.input_feeding

    def _attend_in_the_loop(self, inputs, memory, state, inputs_mask, training):
        """Outputs, weights and the last state, where each step of the cell has its attention."""

        def step(cell, x, state):
            hidden, context, weights, state = self._step(cell, x, memory, state, training)
            if "fed" in state:
                return (state["fed"], weights), state
            return (hidden, weights, context), state

        (hidden, weights, *context), state = self._loop(step, inputs, inputs_mask, state, training)
        if len(weights.shape) > 3:  # (B, T, H, S) to (B, H, T, S)
            weights = ops.swapaxes(weights, 1, 2)
        outputs = self._output(hidden, *context) if context else hidden
        return outputs, weights, state

    def _attend_after_the_loop(self, inputs, memory, state, inputs_mask, training):
        """The same where nothing is fed: the cell needs no attention, and all its outputs can be
        queries at once.
        """

        def step(cell, x, state):
            return cells.run(cell, x, state, training)

        hidden, cell = self._loop(step, inputs, inputs_mask, state["cell"], training)
        context, weights, past = recurrent(self.attention).steps(
            hidden, memory, state["attention"], query_mask=inputs_mask, training=training
        )
        return self._output(hidden, context), weights, {"cell": cell, "attention": past}

    def _loop(self, step, inputs, mask, state, training):
        """`time_loop` whose masked steps give zeros and leave the state as it is."""
        batch = ops.shape(inputs)[0]
        cell = cells.of_one_call(self.cell, training, batch, self.cell_input_size)

        def masked(inputs, state):
            x, mask = inputs
            outputs, new = step(cell, x, state)
            zeros = keras.tree.map_structure(ops.zeros_like, outputs)
            return hold(mask, outputs, zeros), hold(mask, new, state)

        parts = *cells.cells_in(self.cell), self.attention
        layer = self if training and any(map(cells.draws, parts)) else None
        return time_loop(masked, (inputs, mask), state, layer=layer, training=bool(training))

    def _step(self, cell, x, memory, state, training):
        """The cell's output, the context, the weights and the next state."""
        attention = recurrent(self.attention)
        if self.order == "bahdanau":
            context, weights, past = attention.step(
                state["output"], memory, state["attention"], training=training
            )
            hidden, new = cells.run(cell, _concat(x, context), state["cell"], training)
            return hidden, context, weights, {"cell": new, "attention": past, "output": hidden}

        x = _concat(x, state["fed"]) if self.input_feeding else x
        hidden, new = cells.run(cell, x, state["cell"], training)
        hook = {}
        if self.uses_cell_state:
            previous, current = keras.tree.flatten(state["cell"]), keras.tree.flatten(new)
            hook = {"cell_state": {"inputs": x, "previous": previous, "current": current}}
        context, weights, past = attention.step(
            hidden, memory, state["attention"], training=training, **hook
        )
        state = {"cell": new, "attention": past}
        if self.input_feeding:
            state["fed"] = self._output(hidden, context)
        return hidden, context, weights, state

    def _output(self, hidden, context):
        if self.attentional_dense is None:
            return hidden
        return self.attentional_dense(_concat(context, hidden))  # eq. 5 of Luong 2015


def _concat(*tensors):
    return ops.concatenate(tensors, axis=-1)
