"""The contract: what every attention layer must do, whatever else it does.

A test file of a layer subclasses `LayerContract` and lists its cases:

    class TestContract(LayerContract):
        cases = {"additive": Case(lambda **kw: ka.ContentAttention("additive", **kw), ...)}

The tests have the numbers of docs/contract.md, which says all this to users.
"""

import concurrent.futures
import dataclasses
import inspect
import re
from collections.abc import Callable

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND, HAS_XLA, call, needs_tensorflow, run, to_numpy, twice_of

# A different size on every axis, so that no two can be confused.
SIZES = {"B": 2, "T": 3, "S": 5, "D": 4, "E": 6, "F": 7, "H": 8, "Y": 9, "X": 10}
ARGUMENTS = (
    "query value sentinel key inputs gating memory mask inputs_mask gating_mask memory_mask "
    "query_mask value_mask key_mask attention_mask segment_ids cell_state "
    "use_causal_mask return_attention_scores training"
).split()
# The masks of the steps that are attended to.
STEP_MASKS = ("value_mask", "mask", "inputs_mask", "memory_mask")
STEP_AXES = "TSYX"  # Y rows and X columns of a grid


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer under the contract.

    Args:
        make: Function that makes the layer; takes more constructor arguments by keyword.
        tensors: Call argument to its axes, such as `{"query": "BTD", "value": "BSD"}`.
        weights: Axes of the returned weights, such as `"BTS"`, or a structure of axes.
        masks: Mask argument to the tensor it masks, such as `{"value_mask": "value"}`.
        attention_mask: Axes of the largest attention mask, or `None` if the layer takes none.
        is_causal: Whether the layer takes `use_causal_mask`.
        use_output_bias: Whether the output of a zero context is not zero but a bias.
        is_random: Whether training draws random numbers even without dropout.
        is_gate: Whether each weight lies between 0 and 1 by itself, rather than a row of them
            summing to one; such a layer has no dropout, and no `training` to switch it.
        sums_to_one: Whether the weights of each row sum to one, where it has any.
        has_residual: Whether a step reaches its own output past the attention too.
        fallback: The call argument that the output equals where there is nothing to attend to,
            such as a sentinel; `None` for an output of zeros.
        sees_all: Whether a softmax gives every allowed step some weight.
        fixed_steps: Axes of steps that cannot have the length 0.
        is_slow: Whether XLA takes long to compile its second derivative, as that of a loop over
            time; the loop itself, coverage and a decoder have theirs compiled.
        has_norm: Whether Keras' `LayerNormalization` is inside. On TensorFlow its second derivative
            is wrong: `tf.nn.moments` lets no gradient through the mean in the variance.
    """

    make: Callable
    tensors: dict
    weights: str | dict
    masks: dict
    attention_mask: str | None = None
    is_causal: bool = False
    use_output_bias: bool = False
    is_random: bool = False
    is_gate: bool = False
    sums_to_one: bool = True
    has_residual: bool = False
    fallback: str | None = None
    sees_all: bool = True
    fixed_steps: str = ""
    is_slow: bool = False
    has_norm: bool = False
    made: dict = dataclasses.field(default_factory=dict)  # what the tests of a case share

    def inputs(self, scale=1.0, dtype="float32"):
        rng = np.random.default_rng(3)
        return {
            k: (scale * rng.normal(size=_shape(a))).astype(dtype) for k, a in self.tensors.items()
        }

    def padding(self):
        """A mask for each mask argument; every row keeps a step, every mask hides one."""
        return {name: _padding(self.tensors[tensor][:-1]) for name, tensor in self.masks.items()}

    def built(self):
        """A layer with non-zero weights everywhere, so that no bias hides."""
        if "layer" not in self.made:
            layer = self.made["layer"] = self.make()
            layer(**self.inputs())
            rng = np.random.default_rng(5)
            for weight in layer.trainable_weights:
                weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
        return self.made["layer"]

    def model(self, length=None, return_attention_scores=False, use_masks=True, layer=None):
        """A functional model around a layer; `length=None` leaves all lengths unknown."""
        kind = length, return_attention_scores, use_masks
        if layer is None and kind in self.made:
            return self.made[kind]
        inputs = {}
        for name, axes in self.tensors.items():
            shape = _shape(axes)[1:]
            if length is None:
                shape = tuple(None if a in _steps(axes) else SIZES[a] for a in axes[1:])
            inputs[name] = keras.Input(shape, name=name)
        for name, tensor in (self.masks if use_masks else {}).items():
            inputs[name] = keras.Input(inputs[tensor].shape[1:-1], name=name, dtype="bool")
        given, layer = layer, layer or self.built()
        outputs = layer(**inputs, return_attention_scores=return_attention_scores)
        model = keras.Model(inputs, outputs)
        if given is None:
            self.made[kind] = model
        return model


def _shape(axes):
    return tuple(SIZES[axis] for axis in axes)


def _steps(axes):
    """The step axes of a tensor: those between batch and features that are no fixed size."""
    return [axis for axis in axes[1:-1] if axis in STEP_AXES]


def _padding(axes):
    mask = np.ones(_shape(axes), "bool")
    mask[0, -1] = mask[1, 0] = False
    if mask.shape[1] > 3:
        mask[0, -2] = False
    if mask.ndim == 3:
        mask[..., -1] = False
    return mask


def _close(actual, expected, tolerance=1e-5):
    keras.tree.map_structure(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance),
        to_numpy(actual),
        to_numpy(expected),
    )


class InBlocks:
    """Mix in before `LayerContract`: the same cases, computed in blocks of two queries."""

    # What has nothing to do with blocks: arguments, files, and exports, which have none.
    test_1_arguments_have_the_names_of_the_contract = None
    test_9_config_keys_are_constructor_arguments = None
    test_9_save_and_load_give_the_same_bits = None
    test_9_a_frozen_layer_stays_frozen = None
    test_9_a_quantized_layer_is_saved_and_loaded = None
    test_10_exports_compute_the_same_with_unknown_lengths = None
    test_10_exports_compute_the_same_with_fixed_sizes = None
    test_13_rejects_masks_of_floats = None
    test_14_threads_do_not_disturb_each_other = None
    test_13_rejects_bad_dropout = None
    test_13_rejects_inputs_without_steps = None
    test_13_rejects_masks_of_another_rank_or_length = None

    @pytest.fixture(autouse=True)
    def blocks_of_two(self):
        with ka.query_blocks(threshold=0, block=1, rows=2):
            yield


class LayerContract:
    """Subclass, and set `cases`, a dict from an id to a `Case`."""

    cases: dict

    def pytest_generate_tests(self, metafunc):
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases.values(), ids=self.cases.keys())

    def _is_first(self, case):
        return case is next(iter(self.cases.values()))

    def _one_case_on_jax(self, case):
        """For points that the cases of a layer keep or break alike on both backends."""
        if BACKEND == "jax" and not self._is_first(case):
            pytest.skip("JAX compiles each operation of each case, and TensorFlow has them all")

    # 1. Call ------------------------------------------------------------------------------------

    def test_1_arguments_have_the_names_of_the_contract(self, case):
        names = list(inspect.signature(case.make().call).parameters)
        assert set(names) <= set(ARGUMENTS)
        assert names[: len(case.tensors)] == list(case.tensors)
        flags = [name for name in names if name in ARGUMENTS[-3:]]
        last = ARGUMENTS[:-1] if case.is_gate else ARGUMENTS
        assert names[-len(flags) :] == flags == list(last[-len(flags) :])

    def test_1_a_mask_by_hand_equals_an_implicit_mask(self, case):
        self._one_case_on_jax(case)
        layer, tensors, masks = case.built(), case.inputs(), case.padding()
        by_hand = layer(**tensors, **masks, return_attention_scores=True)
        implicit = dict(tensors)
        for name, mask in masks.items():
            tensor = case.masks[name]
            padded = np.where(mask[..., None], tensors[tensor], 0.0).astype("float32")
            implicit[tensor] = keras.layers.Masking()(padded)
        _close(layer(**implicit, return_attention_scores=True), by_hand)
        assert not np.allclose(*map(to_numpy, (layer(**tensors), by_hand[0])))

    def test_1_a_mask_by_hand_is_not_overwritten_by_an_implicit_one(self, case):
        layer, tensors, masks = case.built(), case.inputs(), case.padding()
        expected = layer(**tensors, **masks, return_attention_scores=True)
        for tensor in set(case.masks.values()):  # nothing is zero, so nothing is masked here
            tensors[tensor] = keras.layers.Masking()(tensors[tensor])
        _close(layer(**tensors, **masks, return_attention_scores=True), expected)

    # 2. Masks -----------------------------------------------------------------------------------

    def test_2_attention_masks_broadcast(self, case):
        if case.attention_mask is None:
            pytest.skip("takes no attention mask")
        layer, tensors = case.built(), case.inputs()
        small = np.random.default_rng(1).random(_shape(case.attention_mask[-2:])) > 0.4
        small[:, 1] = True
        expected = layer(**tensors, attention_mask=small, return_attention_scores=True)
        for rank in range(3, len(case.attention_mask) + 1):
            axes = case.attention_mask if rank == 4 else "B" + case.attention_mask[-2:]
            for shape in (_shape(axes), (1,) * (rank - 2) + small.shape):
                mask = np.broadcast_to(small, shape)
                got = layer(**tensors, attention_mask=mask, return_attention_scores=True)
                _close(got, expected)
                _close(layer(**tensors, attention_mask=mask), expected[0])
        weights = to_numpy(expected[1])
        while weights.ndim > 2:
            weights = weights[0]
        np.testing.assert_array_equal(weights[~small.reshape(weights.shape)], 0)

    def test_2_masks_of_one_step_or_example_stand_for_all(self, case):
        self._one_case_on_jax(case)
        layer, tensors = case.built(), case.inputs()
        for name, mask in case.padding().items():
            expected = layer(
                **tensors,
                **{name: np.broadcast_to(mask[:1], mask.shape)},
                return_attention_scores=True,
            )
            _close(layer(**tensors, **{name: mask[:1]}, return_attention_scores=True), expected)
        if case.attention_mask is None:
            return
        rows, columns = _shape(case.attention_mask[-2:])
        of_queries, of_keys = np.arange(rows)[:, None] != 1, np.arange(columns)[None] != 0
        for small in (np.array([[True]]), of_queries, of_keys, np.array([[False]])):
            full = np.broadcast_to(small, (rows, columns))
            expected = layer(**tensors, attention_mask=full, return_attention_scores=True)
            for mask in (small, small[None]):
                got = layer(**tensors, attention_mask=mask, return_attention_scores=True)
                _close(got, expected)
                _close(layer(**tensors, attention_mask=mask), expected[0])
        _close(layer(**tensors, attention_mask=np.array([[True]])), layer(**tensors))

    def test_2_masks_combine_by_and(self, case):
        if case.attention_mask is None:
            pytest.skip("takes no attention mask")
        layer, tensors = case.built(), case.inputs()
        name, mask = next((n, m) for n, m in case.padding().items() if n in STEP_MASKS)
        attention = np.random.default_rng(2).random((2, *_shape(case.attention_mask[-2:]))) > 0.4
        combined = attention & mask[:, None, :]
        if case.masks[name] == "inputs":  # the same steps are the queries
            combined &= mask[:, :, None]
        got = layer(
            **tensors, **{name: mask}, attention_mask=attention, return_attention_scores=True
        )
        expected = layer(**tensors, attention_mask=combined, return_attention_scores=True)
        if case.has_residual:  # of steps that attend to nothing, only padding is blank besides
            got, expected = got[1], expected[1]
        _close(got, expected)

    def test_2_packed_sequences_equal_each_alone(self, case):
        layer = case.built()
        if "segment_ids" not in inspect.signature(layer.call).parameters:
            pytest.skip("takes no segments")
        self._one_case_on_jax(case)
        rng = np.random.default_rng(4)
        packed = {  # sequences of six steps, but for a memory, which all of them read
            k: rng.normal(size=(2, SIZES["S"] if k == "memory" else 6, SIZES[a[-1]]))
            for k, a in case.tensors.items()
        }
        packed = {k: x.astype("float32") for k, x in packed.items()}
        ids = np.array([[7, 7, -2, -2, -2, 0], [3, 5, 5, 5, 5, 5]])
        for flags in [{}, {"use_causal_mask": True}] if case.is_causal else [{}]:
            found = to_numpy(layer(**packed, segment_ids=ids, **flags))
            _, weights = layer(**packed, segment_ids=ids, **flags, return_attention_scores=True)
            weights = keras.tree.flatten(to_numpy(weights))[0]  # of the inputs, beside a memory
            others = ids[:, :, None] != ids[:, None, :]  # (2, 6, 6)
            if weights.ndim == 4:
                others = np.broadcast_to(others[:, None], weights.shape)
            np.testing.assert_array_equal(weights[others], 0)
            for row in range(2):
                for number in np.unique(ids[row]):
                    steps = ids[row] == number
                    alone = {
                        k: x[row : row + 1] if k == "memory" else x[row : row + 1, steps]
                        for k, x in packed.items()
                    }
                    _close(found[row, steps], to_numpy(layer(**alone, **flags))[0])
        assert not np.allclose(found, to_numpy(layer(**packed, **flags)))
        if self._is_first(case):
            _close(
                call(layer, packed | {"segment_ids": ids}, jit=HAS_XLA),
                to_numpy(layer(**packed, segment_ids=ids)),
            )
        for wrong, pattern in [(ids + 0.5, "must be integers"), (ids[:, :5], "as many steps")]:
            with pytest.raises(ValueError, match=f"`segment_ids` must .*{pattern}|{pattern}"):
                layer(**packed, segment_ids=wrong)

    # 3. Padding is invisible --------------------------------------------------------------------

    def test_3_padding_is_invisible(self, case):
        layer, clean, masks = case.built(), case.inputs(), case.padding()
        dirty = {k: v.copy() for k, v in clean.items()}
        for name, mask in masks.items():
            clean[case.masks[name]][~mask] = 0.0
            size = dirty[case.masks[name]][~mask].size
            rubbish = np.resize([np.nan, np.inf, 1e3], size)  # all three in each step
            dirty[case.masks[name]][~mask] = rubbish.reshape(-1, clean[case.masks[name]].shape[-1])
        expected = run(layer, clean | masks, return_attention_scores=True)
        _close(run(layer, dirty | masks, return_attention_scores=True), expected)
        assert any(np.abs(gradient).max() > 0 for gradient in expected[1] + [*expected[2].values()])
        for name, mask in masks.items():
            np.testing.assert_array_equal(expected[2][case.masks[name]][~mask], 0)

    def test_3_what_an_attention_mask_hides_is_invisible(self, case):
        self._one_case_on_jax(case)
        if case.attention_mask is None:
            pytest.skip("takes no attention mask")
        layer, clean = case.built(), case.inputs()
        mask = np.ones(_shape(case.attention_mask[-2:]), "bool")
        mask[:, 1] = False  # of the keys
        hidden = {name for name in clean if case.tensors[name][1] == case.attention_mask[-1]}
        if case.attention_mask[-1] == case.attention_mask[-2]:
            mask[1] = False  # the same steps are the queries
        dirty = {k: v.copy() for k, v in clean.items()}
        for name in hidden:
            clean[name][:, 1] = 0.0
            dirty[name][:, 1] = np.resize([np.nan, np.inf, 1e3], clean[name].shape[-1])
        mask = {"attention_mask": mask}
        if case.has_residual:  # the hidden step's own output is what it is
            seen = np.arange(mask["attention_mask"].shape[0]) != 1
            for jit in (False, True):
                got = call(layer, dirty | mask, jit=jit)
                _close(got[:, seen], call(layer, clean | mask, jit=jit)[:, seen])
            return
        expected = run(layer, clean | mask, return_attention_scores=True)
        _close(run(layer, dirty | mask, return_attention_scores=True), expected)
        if self._is_first(case):
            _close(run(layer, dirty | mask, jit=True), run(layer, clean | mask))

    # 4. Nothing to attend to --------------------------------------------------------------------

    def test_4_nothing_to_attend_to_gives_zeros(self, case):
        layer, tensors = case.built(), case.inputs()
        masks = {}
        for name in set(case.masks) & set(STEP_MASKS):
            masks[name] = np.ones(tensors[case.masks[name]].shape[:-1], "bool")
            masks[name][0] = False  # the first example is empty, the second full
        tensors |= masks
        (output, weights), _, gradients = run(layer, tensors, return_attention_scores=True)
        for array in keras.tree.flatten(weights):
            np.testing.assert_array_equal(array[0], 0)
            assert np.abs(array[1]).sum() > 0
        if case.use_output_bias:
            np.testing.assert_allclose(output[0] - output[0, :1], 0, atol=1e-6)
        elif case.fallback:
            np.testing.assert_array_equal(output[0], tensors[case.fallback][0])
            del gradients[case.fallback]
        else:
            np.testing.assert_array_equal(output[0], 0)
        for gradient in gradients.values():
            if gradient.shape[0] == 2:  # one row an example
                np.testing.assert_array_equal(gradient[0], 0)
                assert np.isfinite(gradient).all()
        _close(call(layer, tensors, jit=False), output)
        _close(call(layer, tensors, jit=True), output)

    @pytest.mark.parametrize("how", ["eager", "graph", "XLA"])
    def test_4_axes_of_length_0_give_zeros(self, case, how):
        self._one_case_on_jax(case)
        if how != "eager" and not self._is_first(case):
            pytest.skip("the cases of a layer differ no more once they are traced")
        layer, tensors = case.built(), case.inputs()
        expected = to_numpy(layer(**tensors, return_attention_scores=True))
        steps = {axis for axes in case.tensors.values() for axis in _steps(axes)}
        for empty in sorted({"B", *steps} - set(case.fixed_steps)):
            few = {}
            for name, x in tensors.items():
                at = case.tensors[name].find(empty)
                few[name] = x if at < 0 else np.take(x, [], axis=at)
            if how == "eager":
                output, weights = to_numpy(layer(**few, return_attention_scores=True))
                for array, axes in zip(
                    keras.tree.flatten(weights), keras.tree.flatten(case.weights), strict=True
                ):
                    sizes = SIZES | {empty: 0}
                    assert array.shape == tuple(sizes[axis] for axis in axes)
                    assert np.isfinite(array).all()
            else:
                output = call(layer, few, jit=how == "XLA", use_graph=True)
            _, *middle, last = expected[0].shape
            wanted = [SIZES["B"] * (empty != "B")]
            wanted += [0 if n == SIZES[empty] and empty != "B" else n for n in middle]
            assert output.shape == (*wanted, last)
            assert np.isfinite(output).all()
            if output.size and case.fallback is None and not case.has_residual:
                constant = output if not case.use_output_bias else output - output[:, :1]
                np.testing.assert_allclose(constant, 0, atol=1e-6)

    # 5. Causal ----------------------------------------------------------------------------------

    def test_5_causal_masks_are_aligned_at_the_end(self, case):
        if not case.is_causal:
            pytest.skip("takes no causal mask")
        layer, tensors = case.built(), case.inputs()
        _, weights = layer(**tensors, use_causal_mask=True, return_attention_scores=True)
        weights = to_numpy(weights)
        queries, steps = weights.shape[-2:]
        future = np.arange(steps)[None, :] > np.arange(queries)[:, None] + (steps - queries)
        np.testing.assert_array_equal(weights[..., future], 0)
        if case.sums_to_one:
            np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
        normalizer = getattr(layer, "normalizer", None)  # a block has none of its own
        if case.sees_all and (normalizer is None or normalizer.__name__ == "softmax"):
            assert (weights[..., ~future] > 0).all()

    # 6. Precision -------------------------------------------------------------------------------

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_6_low_precision_stays_finite(self, case, policy):
        if policy == "mixed_bfloat16":  # whose range is that of float32
            self._one_case_on_jax(case)
        keras.config.set_dtype_policy(policy)
        layer = case.make()
        # Dot products of such inputs reach 1e4; their weights are 0 and 1.
        tensors = case.inputs(scale=50.0, dtype="float32") | case.padding()
        layer(**tensors)
        (output, weights), of_weights, of_inputs = run(layer, tensors, return_attention_scores=True)
        weights = keras.tree.flatten(weights)
        dtypes = {str(array.dtype) for array in (output, *weights)}
        assert dtypes == {keras.mixed_precision.dtype_policy().compute_dtype}
        for array in [output, *weights, *of_weights, *of_inputs.values()]:
            assert np.isfinite(array.astype("float32")).all()
        for array in weights:
            if case.is_gate:
                assert array.min() >= 0 and array.max() <= 1
            elif case.sums_to_one:
                total = array.astype("float32").sum(-1)
                assert np.logical_or(total == 0, np.abs(total - 1) < 0.02).all()

    def test_6_integers_are_cast_at_the_door(self, case):
        layer = case.built()
        tensors = {k: np.abs(x * 3).astype("uint8") for k, x in case.inputs().items()}
        floats = {k: x.astype("float32") for k, x in tensors.items()}
        expected = layer(**floats, return_attention_scores=True)
        for dtype in ("uint8", "int32"):
            given = {k: x.astype(dtype) for k, x in tensors.items()}
            _close(layer(**given, return_attention_scores=True), expected)
        if self._is_first(case):
            _close(call(layer, tensors, jit=True), expected[0])

    @pytest.mark.parametrize("dtype", ["float64", "mixed_float16"])
    def test_6_trains_with_an_empty_row(self, case, dtype):
        if not self._is_first(case):
            pytest.skip("Keras trains all cases of a layer alike")
        tensors = case.inputs() | case.padding()
        for name in set(case.masks) & set(STEP_MASKS):
            tensors[name][0] = False
        floatx, is_double = keras.config.floatx(), dtype == "float64"
        if is_double and BACKEND != "tensorflow":
            pytest.skip("JAX has no float64 by default, and Keras none in products on PyTorch")
        try:
            if is_double:
                keras.config.set_floatx("float64")
            keras.config.set_dtype_policy(dtype)
            model = case.model(layer=case.make())
            head = keras.layers.Dense(2, dtype="float64" if is_double else "float32")
            model = keras.Model(model.inputs, head(model.output))
            model.compile("sgd", "mse", jit_compile=HAS_XLA and not is_double)
            model.optimizer.build(model.trainable_variables)  # or a step is traced twice
            target = np.ones(to_numpy(model(tensors)).shape)
            history = model.fit(tensors, target, epochs=3, batch_size=2, verbose=0)
            assert np.isfinite(history.history["loss"]).all()
            for weight in model.weights:
                assert np.isfinite(to_numpy(weight.value).astype("float64")).all(), weight.path
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy("float32")

    # 7. Symbolic = eager ------------------------------------------------------------------------

    @pytest.mark.parametrize(("length", "use_masks"), [(None, True), ("known", False)])
    def test_7_symbolic_shapes_equal_eager_ones(self, case, length, use_masks):
        self._one_case_on_jax(case)
        if length == "known" and not self._is_first(case):
            pytest.skip("shapes of a layer's cases differ no more where lengths are known")
        tensors = case.inputs() | (case.padding() if use_masks else {})
        both = case.model(length, True, use_masks)
        one = case.model(length, False, use_masks)
        output, weights = both(tensors)
        weights, weights_axes = keras.tree.flatten(weights), keras.tree.flatten(case.weights)
        assert [tuple(array.shape) for array in weights] == [_shape(a) for a in weights_axes]
        for symbolic, eager in zip(both.outputs, (output, *weights), strict=True):
            assert len(symbolic.shape) == len(eager.shape)
            known = [(s, e) for s, e in zip(symbolic.shape, eager.shape, strict=True) if s]
            assert all(s == e for s, e in known)
            assert symbolic.shape[0] is None
            if length == "known":
                assert len(known) == len(eager.shape) - 1
            eager_dtype = keras.backend.standardize_dtype(eager.dtype)
            assert keras.backend.standardize_dtype(symbolic.dtype) == eager_dtype
        assert one.outputs[0].shape == both.outputs[0].shape
        _close(one(tensors), output)
        if length is None:  # the same graph takes other lengths
            longer = dict(tensors)
            for name in tensors:
                axes = case.tensors[case.masks.get(name, name)]
                for axis in _steps(axes):
                    longer[name] = np.repeat(longer[name], 2, axes.index(axis))
            longer_axes = {axis for axes in case.tensors.values() for axis in _steps(axes)}
            sizes = {axis: SIZES[axis] * (2 if axis in longer_axes else 1) for axis in SIZES}
            for array, axes in zip(keras.tree.flatten(both(longer)[1]), weights_axes, strict=True):
                assert list(array.shape) == [sizes[axis] for axis in axes]

    # 8. XLA -------------------------------------------------------------------------------------

    def test_8_xla_gives_the_eager_numbers(self, case):
        self._one_case_on_jax(case)
        layer, tensors = case.built(), case.inputs() | case.padding()
        eager = run(layer, tensors, jit=False, return_attention_scores=True)
        _close(run(layer, tensors, jit=True, return_attention_scores=True), eager)

    def test_8_a_compiled_model_trains_under_xla(self, case):
        if not (case.is_random or self._is_first(case)):
            pytest.skip("Keras trains all cases of a layer alike, but for what they draw")
        tensors = case.inputs() | case.padding()
        losses = []
        for settings in ({"jit_compile": True}, {"jit_compile": False, "run_eagerly": True}):
            keras.utils.set_random_seed(1)
            model = case.model(layer=case.make())
            model = keras.Model(model.inputs, keras.layers.Dense(2)(model.output))
            model.compile("sgd", "mse", **settings)
            model.optimizer.build(model.trainable_variables)  # or a step is traced twice
            assert model.jit_compile is settings["jit_compile"]
            target = np.ones(model(tensors).shape, "float32")
            losses.append([float(model.train_on_batch(tensors, target)) for _ in range(2)])
        assert losses[0][1] < losses[0][0] or case.is_random
        if not case.is_random:  # draws differ between eager and compiled code
            np.testing.assert_allclose(*losses, rtol=1e-5)

    # 9. Saving ----------------------------------------------------------------------------------

    def test_9_config_keys_are_constructor_arguments(self, case):
        layer = case.make()
        arguments = set(inspect.signature(type(layer).__init__).parameters) - {"self", "kwargs"}
        base = {"name", "trainable", "dtype"}
        assert set(layer.get_config()) == arguments | base

    def test_9_save_and_load_give_the_same_bits(self, case, tmp_path):
        self._one_case_on_jax(case)
        tensors = case.inputs() | case.padding()
        model = case.model(return_attention_scores=True)
        expected = to_numpy(model(tensors))
        model.save(tmp_path / "model.keras")
        model.save_weights(tmp_path / "model.weights.h5")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        fresh = keras.Model.from_config(model.get_config())
        fresh.load_weights(tmp_path / "model.weights.h5")
        for other in (loaded, fresh):
            flat = (keras.tree.flatten(outputs) for outputs in (other(tensors), expected))
            for got, wanted in zip(*map(to_numpy, flat), strict=True):
                np.testing.assert_array_equal(got, wanted)

    def test_9_a_frozen_layer_stays_frozen(self, case, tmp_path):
        learn = (one for one in self.cases.values() if one.built().trainable_weights)
        if case is not next(learn, None):
            pytest.skip("a layer's cases are frozen alike, if they have weights")
        layer = case.make(trainable=False)
        model = case.model(layer=layer)
        assert not model.trainable_variables
        layer.trainable = True
        assert len(model.trainable_variables) == len(case.built().trainable_weights)
        layer.trainable = False
        model.save(tmp_path / "model.keras")
        copies = [
            keras.models.load_model(tmp_path / "model.keras"),
            keras.models.clone_model(model),
        ]
        for copy in [model, *copies]:
            assert not copy.trainable_variables
        part = next((x for x in layer._flatten_layers(include_self=False) if x.weights), None)
        if part is None:
            return
        layer.trainable = True
        part.trainable = False
        model.save(tmp_path / "part.keras")
        loaded = keras.models.load_model(tmp_path / "part.keras")
        names = [[v.path.split("/", 1)[-1] for v in m.trainable_variables] for m in (model, loaded)]
        assert len(names[0]) < len(model.weights) and len(names[0]) == len(names[1])

    @pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
    def test_9_a_quantized_layer_is_saved_and_loaded(self, case, tmp_path):
        if not self._is_first(case):
            pytest.skip("a layer's cases are quantized alike")
        tensors = case.inputs() | case.padding()
        model = case.model(layer=case.make(), return_attention_scores=True)
        model.quantize("int8")
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        for got, wanted in zip(
            *(keras.tree.flatten(to_numpy(m(tensors))) for m in (loaded, model)), strict=True
        ):
            np.testing.assert_array_equal(got, wanted)
        dtypes = [[(w.shape, w.dtype) for w in m.weights] for m in (loaded, model)]
        assert dtypes[0] == dtypes[1]

    # 10. Export ---------------------------------------------------------------------------------

    @needs_tensorflow
    def test_10_exports_compute_the_same_with_unknown_lengths(self, case, tmp_path):
        # What TensorFlow computes a SavedModel takes as it is; TFLite has to have each operation.
        formats = ("saved_model", "tflite") if self._is_first(case) else ("tflite",)
        report = ka.export_model(
            case.model(return_attention_scores=True),
            tmp_path / "export",
            samples=case.inputs() | case.padding(),
            formats=formats,
            decision=None,
        )
        assert set(report["forms"]) == set(formats)
        for form in report["forms"].values():
            assert form["signatures"]["serving_default"]["difference"] < 1e-4

    @needs_tensorflow
    def test_10_exports_compute_the_same_with_fixed_sizes(self, case, tmp_path):
        if not self._is_first(case):
            pytest.skip("sizes are fixed alike in all cases of a layer")
        tensors = case.inputs() | case.padding()
        inputs = {
            name: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=name)
            for name, x in tensors.items()
        }
        model = keras.Model(inputs, case.built()(**inputs, return_attention_scores=True))
        report = ka.export_model(  # also without XNNPACK
            model, tmp_path / "export", samples=tensors, formats="tflite", decision=None
        )
        figures = report["forms"]["tflite"]["signatures"]["serving_default"]
        assert max(figures["difference"], figures["plain_kernels"]["difference"]) < 1e-4

    # 11. Seeds ----------------------------------------------------------------------------------

    def test_11_the_same_seed_gives_the_same_dropout(self, case):
        self._one_case_on_jax(case)
        if case.is_gate:
            pytest.skip("has no dropout")
        tensors = case.inputs()

        def draw(seed):
            layer = case.make(dropout=0.5, seed=seed)
            layer(**tensors)
            for weight in layer.trainable_weights:
                weight.assign(np.full(weight.shape, 0.1))
            return [to_numpy(layer(**tensors, training=True)) for _ in range(4)]

        first, again, other = draw(1), draw(1), draw(2)
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
        assert not np.array_equal(first[0], first[1])

    # 13. Errors ---------------------------------------------------------------------------------

    def test_13_rejects_bad_dropout(self, case):
        if case.is_gate:
            pytest.skip("has no dropout")
        with pytest.raises(ValueError, match=r"`dropout` must be .* Received: dropout=1.5"):
            case.make(dropout=1.5)

    def test_13_rejects_masks_of_floats(self, case):
        tensors = case.inputs()
        for name, mask in case.padding().items():
            with pytest.raises(ValueError, match=f"`{name}` must be boolean.*dtype=float32"):
                case.built()(**tensors, **{name: np.where(mask, 0.0, -1e9).astype("float32")})
        if case.attention_mask is not None:
            mask = np.zeros(_shape(case.attention_mask[-2:]), "float32")
            with pytest.raises(ValueError, match="`attention_mask` must be boolean.*`mask == 0`"):
                case.built()(**tensors, attention_mask=mask)

    def test_13_rejects_inputs_without_steps(self, case):
        tensors = {k: v[:, 0] if v.ndim >= 3 else v for k, v in case.inputs().items()}
        with pytest.raises(ValueError, match=r"must have the shape \(batch.*Received: "):
            case.make()(**tensors)

    def test_13_rejects_masks_of_another_rank_or_length(self, case):
        tensors, padding = case.inputs(), case.padding()
        wrong = []
        for name, mask in padding.items():
            longer = np.concatenate([mask, mask[..., :1]], axis=-1)
            wrong += [(name, mask[0]), (name, mask[..., None]), (name, longer)]
        if case.attention_mask is not None:
            mask = np.ones(_shape(case.attention_mask[-2:]), "bool")
            too_deep = mask[(None,) * (len(case.attention_mask) - 1)]
            wrong += [("attention_mask", bad) for bad in (mask[0], too_deep, mask[:, 1:])]
            if case.attention_mask[1] == "H":
                wrong.append(("attention_mask", np.ones((2, 17, *mask.shape), "bool")))
        layer = case.built()
        for name, mask in wrong:
            shape = re.escape(f"{name}.shape={mask.shape}")
            with pytest.raises(ValueError, match=f"`{name}` must have .* Received: .*{shape}"):
                layer(**tensors, **{name: mask})

    # 14. Threads --------------------------------------------------------------------------------

    def test_14_threads_do_not_disturb_each_other(self, case):
        if not self._is_first(case):
            pytest.skip("calls of a layer's cases set the same attributes")
        layer, tensors = case.built(), case.inputs()
        batches = [{k: x * (1 + n) for k, x in tensors.items()} for n in range(4)]
        expected = [to_numpy(layer(**batch)) for batch in batches]

        def use(n):
            for _ in range(3):
                layer(**batches[n], training=True) if "training" in takes else None
                _close(layer(**batches[n]), expected[n])

        takes = inspect.signature(layer.call).parameters
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(use, range(4)))

    # 15. Differentiable twice -------------------------------------------------------------------

    @pytest.mark.parametrize("jit", [False, True])
    def test_15_a_gradient_has_a_gradient(self, case, jit):
        if not self._is_first(case) or case.is_random:
            pytest.skip("a layer's cases are differentiated alike")
        if jit and case.is_slow:
            pytest.skip("XLA takes long; others have the same loop compiled")
        layer, tensors = case.built(), case.inputs()
        if getattr(layer, "activation", None) is keras.activations.relu:  # which has kinks
            layer = case.make(activation="tanh")
            layer(**tensors)
        differentiate = twice_of(layer, jit)
        first, second = differentiate(tensors)
        assert set(first) == set(second) == set(tensors)
        assert all(np.isfinite(x).all() for x in (*first.values(), *second.values()))
        if case.has_norm and BACKEND == "tensorflow":
            return
        # The second derivative along a direction, by differences of the first. A maximum may change
        # its place within a step: then a shorter one tells.
        rng = np.random.default_rng(9)
        direction = {k: rng.normal(size=x.shape).astype("float32") for k, x in tensors.items()}
        exact = sum(np.sum(second[k].astype("float64") * direction[k]) for k in tensors)

        def squares(step):
            moved = {k: x + step * direction[k] for k, x in tensors.items()}
            first, _ = differentiate(moved)
            return sum(np.sum(np.square(x.astype("float64"))) for x in first.values())

        for step in (2e-3, 1e-3, 5e-4):
            slope = (squares(step) - squares(-step)) / (2 * step)
            scale = max(abs(slope), sum(np.abs(x).sum() for x in second.values()) * 0.1, 1e-3)
            if abs(exact - slope) < 0.03 * scale:
                return
        raise AssertionError(f"the second derivative is {exact}, by differences {slope}")
