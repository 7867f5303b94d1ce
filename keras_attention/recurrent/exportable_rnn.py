"""A recurrent layer that converts to TFLite with an unknown batch size."""

import keras
from keras import ops

from keras_attention.layer import BaseLayer
from keras_attention.recurrent import cells
from keras_attention.recurrent.time_loop import hold, time_loop
from keras_attention.types import Outputs, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class ExportableRNN(BaseLayer, keras.layers.RNN):
    """`keras.layers.RNN` that converts to TFLite with an unknown batch size and length.

        output_t, state_t = cell(x_t, state_{t-1})

    Keras' own recurrent layers convert for a fixed batch size only. Arguments, outputs and weights
    are Keras': `ExportableRNN(keras.layers.GRUCell(8))` takes the weights of `keras.layers.GRU(8)`,
    and `keras.layers.Bidirectional(...)` of it reads both directions.

    Masking: a masked step, wherever in the sequence, keeps the state. Its output is that of the
    step before, or zero (`zero_output_for_mask`; without `return_sequences` this is about the step
    that is read last). With `go_backwards` a padded text therefore starts at its own end, not in
    the padding.

    Args:
        cell: A Keras cell such as `keras.layers.GRUCell`, or a list of cells, to be stacked.
        kwargs: As in `keras.layers.RNN`: `return_sequences`, `return_state`, `go_backwards`,
            `stateful`, `zero_output_for_mask` and `unroll`, which uses Keras' own loop.

    Call arguments:
        sequences: Float tensor `(B, T, D)`.
        initial_state: List of tensors `(B, units)`, or `None` for zeros.
        mask: Boolean `(B, T)`; Keras fills it from the implicit mask.
        training: Whether the cell applies its dropout.

    Returns:
        The last output `(B, units)`, or `(B, T, units)` with `return_sequences`; with
        `return_state` also the last states.

    Raises:
        ValueError: If `cell` is not a cell, or a stateful layer gets another batch size.

    Example:
        >>> cell = keras.layers.GRUCell(6)
        >>> layer = keras.layers.Bidirectional(ka.ExportableRNN(cell, return_sequences=True))
        >>> layer(keras.ops.ones((2, 5, 4))).shape == (2, 5, 12)
        True

    Reference:
        https://keras.io/api/layers/recurrent_layers/rnn
    """

    def call(
        self,
        sequences: Tensor,
        initial_state: State = None,
        mask: Tensor | None = None,
        training: bool | None = False,
    ) -> Outputs:
        """Runs the cell over a whole sequence.

        Args:
            sequences: Float tensor `(B, T, D)`.
            initial_state: List of tensors `(B, units)`, or `None` for zeros (of a stateful layer,
                the states of the last call).
            mask: Boolean `(B, T)`; Keras fills it from the implicit mask.
            training: Whether the cell applies its dropout.

        Returns:
            The last output `(B, units)`, or with `return_sequences` all outputs `(B, T, units)`;
            with `return_state` a tuple of these and the last states.
        """
        sequences = self.floats(sequences)
        batch = ops.shape(sequences)[0]
        states = self._first_states(batch, initial_state)
        if self.stateful:
            self._check_rows(sequences, states)
        cell = cells.of_one_call(self.cell, training, batch, sequences.shape[-1])
        if self.unroll:  # Keras' own loop
            copy = cells.copy_of(self, cell=cell)
            return keras.layers.RNN.call(copy, sequences, states, mask, training)
        kwargs = cells.arguments_of(cell, training)

        def step(inputs, state):
            x, is_kept = inputs["x"], inputs["mask"]
            output, states = state
            new_output, new_states = cell(x, states, **kwargs)
            # Cells may return another kind of structure than they were given.
            new_states = keras.tree.pack_sequence_as(states, keras.tree.flatten(new_states))
            masked_output = ops.zeros_like(output) if self.zero_output_for_mask else output
            output = hold(is_kept, new_output, masked_output)
            kept = output if self.return_sequences else {}
            return kept, (output, hold(is_kept, new_states, states))

        first = ops.zeros((batch, cells.output_size(cell)), dtype=cell.compute_dtype)
        outputs, (last, states) = time_loop(
            step,
            {"x": sequences, "mask": mask},
            (first, states),
            reverse=self.go_backwards,
            training=bool(training),
        )
        if not self.return_sequences:
            outputs = last
        elif self.go_backwards:  # Keras returns the outputs in the order of computation
            outputs = ops.flip(outputs, axis=1)
        outputs, states = keras.tree.map_structure(
            lambda x: ops.cast(x, self.compute_dtype), (outputs, states)
        )
        if self.stateful:
            for variable, state in zip(
                *map(keras.tree.flatten, (self.states, states)), strict=True
            ):
                variable.assign(state)
        return (outputs, *states) if self.return_state else outputs

    def _first_states(self, batch, given):
        """The cell's initial states as a list, in its dtype."""
        if given is None:
            given = self.states if self.stateful else self.get_initial_state(batch_size=batch)
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        dtype = self.cell.compute_dtype
        return keras.tree.map_structure(lambda x: ops.convert_to_tensor(x, dtype=dtype), given)

    def _check_rows(self, sequences, states):
        rows, state_rows = sequences.shape[0], keras.tree.flatten(states)[0].shape[0]
        if rows is not None and state_rows is not None and rows != state_rows:
            raise ValueError(
                "`sequences` must have as many rows as the states that a stateful layer keeps. "
                f"Received: sequences.shape={tuple(sequences.shape)}, states of {state_rows} rows"
            )
