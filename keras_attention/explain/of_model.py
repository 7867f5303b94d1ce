"""What a Keras model says of itself."""

import numpy as np

from keras_attention.explain.gradients import gradient_times_input, integrated_gradients
from keras_attention.explain.intercept import IN_A_LOOP
from keras_attention.explain.maps import attention_maps
from keras_attention.explain.permutation import CannotShuffle, permutation_test
from keras_attention.explain.probabilities import entry


class OfModel:
    """Probabilities, weights and gradients of a model for inputs, in batches."""

    def __init__(self, model, inputs, output, batch_size):
        self._model, self._inputs, self._output = model, np.asarray(inputs), output
        self._batch_size = batch_size

    def probabilities(self, inputs):
        return entry(self._model.predict_on_batch(inputs), self._output)

    def weights(self, name):
        """The name of an attention layer and its weights, of which the last axis stays."""
        starts = range(0, len(self._inputs), self._batch_size)
        batches = [
            attention_maps(self._model, self._inputs[start : start + self._batch_size])
            for start in starts
        ]
        maps = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
        if name is None and len(maps) == 1:
            (name,) = maps
        if name not in maps:
            raise ValueError(
                "`weights` must be an array or name one of the model's attention layers. Received: "
                f"weights={name!r}, layers {list(maps)}"
            )
        weights = maps[name]
        is_grid = self._inputs.ndim == 4
        axes = tuple(range(1, weights.ndim - (2 if is_grid else 1)))
        return name, weights.mean(axis=axes) if axes else weights

    def permutation(self, layer, seed):
        try:
            return permutation_test(
                self._model, self._inputs, layer=layer, output=self._output, seed=seed,
                batch_size=self._batch_size,
            )  # fmt: skip
        except CannotShuffle:  # a layer of Keras
            return None
        except ValueError as error:  # TensorFlow hands no other class on from a traced function
            if IN_A_LOOP in str(error):
                return None
            raise

    def gradients(self, embedding):
        methods = {
            "gradient x input": gradient_times_input, "integrated gradients": integrated_gradients
        }  # fmt: skip
        return {
            name: method(
                self._model, self._inputs, layer=embedding, output=self._output,
                batch_size=self._batch_size,
            )
            for name, method in methods.items()
        }  # fmt: skip
