"""A recurrent layer that converts to TFLite."""

import inspect

import keras
from keras import ops

from keras_attention.recurrent.time_loop import hold, time_loop


@keras.saving.register_keras_serializable(package="keras_attention")
class ExportableRNN(keras.layers.RNN):
    """`keras.layers.RNN` with another loop: it converts to TFLite with unknown batch and length.

        output_t, state_t = cell(x_t, state_{t-1})

    Keras' own recurrent layers convert for a fixed batch alone. The arguments, the numbers and the
    weights are Keras': `ExportableRNN(keras.layers.GRUCell(8))` takes the weights of
    `keras.layers.GRU(8)`, and both directions at once are `keras.layers.Bidirectional(...)` of it.

    Masking: at a masked step the state and the output stay what they were, wherever in the
    sequence it is. Read backwards, a text therefore starts at its own end, not in the padding.

    Args:
        cell: A Keras cell such as `keras.layers.GRUCell`, or a list of cells, to be stacked.
        kwargs: As in `keras.layers.RNN`: `return_sequences`, `return_state`, `go_backwards`,
            `stateful`, `zero_output_for_mask` and `unroll`, which makes Keras' own loop.

    Call arguments:
        sequences: Float tensor `(B, T, D)`.
        initial_state: List of tensors `(B, units)`, or `None` for zeros.
        mask: Boolean `(B, T)`; Keras fills it from the implicit mask.
        training: Whether the cell drops what its `dropout` says.

    Returns:
        The last output `(B, units)`, or `(B, T, units)` with `return_sequences`; with
        `return_state` also the last states.

    Example:
        >>> cell = keras.layers.GRUCell(6)
        >>> layer = keras.layers.Bidirectional(ka.ExportableRNN(cell, return_sequences=True))
        >>> layer(keras.ops.ones((2, 5, 4))).shape == (2, 5, 12)
        True

    Reference:
        https://keras.io/api/layers/recurrent_layers/rnn
    """

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if self.unroll:
            return super().inner_loop(sequences, initial_state, mask, training)
        takes_training = "training" in inspect.signature(self.cell.call).parameters
        kwargs = {"training": training} if takes_training else {}

        def step(inputs, state):
            x, is_kept = inputs["x"], inputs["mask"]
            output, states = state
            new_output, new_states = self.cell(x, states, **kwargs)
            if not keras.tree.is_nested(new_states):
                new_states = [new_states]
            masked_output = ops.zeros_like(output) if self.zero_output_for_mask else output
            output = hold(is_kept, new_output, output)
            shown = hold(is_kept, new_output, masked_output) if self.return_sequences else {}
            return shown, (output, hold(is_kept, list(new_states), states))

        size = getattr(self.cell, "output_size", None) or self.state_size[0]
        first = ops.zeros((ops.shape(sequences)[0], size), dtype=self.cell.compute_dtype)
        outputs, (last, states) = time_loop(
            step,
            {"x": sequences, "mask": mask},
            (first, list(initial_state)),
            reverse=self.go_backwards,
            training=bool(training),
        )
        if not self.return_sequences:
            return last, last, states
        # Keras gives the outputs in the order in which they were made.
        return last, ops.flip(outputs, axis=1) if self.go_backwards else outputs, states
