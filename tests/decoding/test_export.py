"""Searches inside exported models: SavedModel and one TFLite file, batch unknown."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.export import parity
from tests.backend import needs_tensorflow, to_numpy
from tests.decoding.models import CachedDecoder, Decoder, beam, blocked, greedy, memories, sampled

pytestmark = needs_tensorflow
INPUTS = {"memory": ((None, None, 5), "float32"), "mask": ((None, None), "bool")}


@pytest.mark.parametrize("batch", [1, 4])
def test_one_file_holds_three_searches(tmp_path_factory, exported, batch):
    folder, model, signatures = exported
    inputs = memories(batch, steps=9, seed=batch)
    for signature, search in zip(signatures, (greedy, beam, blocked), strict=True):
        expected = to_numpy(search(model, **inputs))
        for plain_kernels in (False, True):
            run = parity.tflite_runner(signature, folder / "model.tflite", plain_kernels)
            got = run(inputs)
            np.testing.assert_array_equal(got["tokens"], expected["tokens"])
            np.testing.assert_array_equal(got["lengths"], expected["lengths"])
            np.testing.assert_allclose(got["scores"], expected["scores"], atol=1e-4)


@pytest.fixture(scope="module", params=[Decoder, CachedDecoder])
def exported(request, tmp_path_factory):
    """`export_model` compares SavedModel and TFLite with Keras by itself."""
    folder = tmp_path_factory.mktemp("exported")
    model = request.param()
    signatures = [
        ka.Signature(name, search, INPUTS, memories(6), decision="tokens")
        for name, search in [("greedy", greedy), ("beam", beam), ("blocked", blocked)]
    ]
    ka.export_model(model, folder, signatures=signatures, formats=["saved_model", "tflite"])
    return folder, model, signatures


def test_a_saved_model_draws_anew_at_each_call(tmp_path):
    import tensorflow as tf

    model = Decoder()
    archive = keras.export.ExportArchive()
    archive.track(model)
    specs = [tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in INPUTS.items()]
    archive.add_endpoint("sample", lambda *tensors: sampled(model, *tensors), specs)
    archive.write_out(str(tmp_path / "out"), verbose=False)
    run = tf.saved_model.load(str(tmp_path / "out")).signatures["sample"]
    for batch in (1, 4):
        inputs = {name: tf.constant(x) for name, x in memories(batch).items()}
        draws = np.stack([run(**inputs)["tokens"] for _ in range(5)])
        assert draws.shape == (5, batch, 8)
        assert len(np.unique(draws, axis=0)) > 1
