"""Language models step by step, packed, and what they lose on a text."""

import keras
import numpy as np
import pytest

from recipes import language_modeling as recipe
from recipes.kit import flags
from recipes.parts import language_model
from recipes.text.tokens import BORDER

LENGTH, VOCABULARY = 16, 9
IDS = np.insert(np.random.default_rng(0).integers(3, VOCABULARY, (2, 11)), 0, BORDER, axis=1)
IDS = IDS.astype("int32")


def made(architecture="transformer", position="rotary", **options):
    """A small model with weights that are no longer those of the start."""
    config = recipe.Config(
        architecture=architecture, position=position, context=LENGTH, size=12, heads=3, layers=1,
        window=5,
    )  # fmt: skip
    model = recipe.build_model(flags.settle(config, 100), VOCABULARY, **options)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return model


def logits(model, ids, segment_ids=None):
    segment_ids = np.zeros_like(ids) if segment_ids is None else segment_ids
    return np.array(model({"tokens": ids, "segment_ids": segment_ids}))


@pytest.mark.parametrize("position", ["rotary", "alibi", "sinusoidal", "learned", "recurrent"])
def test_steps_are_those_of_the_whole(position):
    architecture = "recurrent" if position == "recurrent" else "transformer"
    model = made(architecture, "rotary" if position == "recurrent" else position)
    expected, stepper = logits(model, IDS), language_model.Stepper(model, LENGTH)
    outputs, state = stepper(IDS[:, :5], stepper.first_state(2))
    np.testing.assert_allclose(outputs, expected[:, :5], atol=1e-5)
    for t in range(5, 9):
        outputs, state = stepper(IDS[:, t : t + 1], state)
        np.testing.assert_allclose(np.array(outputs)[:, 0], expected[:, t], atol=1e-5)
    padded, _ = stepper(np.pad(IDS[:1, :4], [[0, 0], [3, 0]]), stepper.first_state(1))
    np.testing.assert_allclose(np.array(padded)[0, 3:], expected[0, :4], atol=1e-5)


@pytest.mark.parametrize("position", ["rotary", "alibi", "recurrent"])
def test_packed_documents_are_as_each_alone(position):
    architecture = "recurrent" if position == "recurrent" else "transformer"
    model = made(architecture, "rotary" if position == "recurrent" else position)
    segment_ids = np.array([[4] * 5 + [7] * 7, [1] * 12], "int32")
    packed = logits(model, IDS, segment_ids)
    np.testing.assert_allclose(packed[0, 5:], logits(model, IDS[:1, 5:])[0], atol=1e-5)
    np.testing.assert_allclose(packed[0, :5], logits(model, IDS[:1, :5])[0], atol=1e-5)
    assert np.abs(packed[0, 5:] - logits(model, IDS)[0, 5:]).max() > 0.01


def test_without_attention_all_steps_before_weigh_the_same():
    heads = language_model.maps(made(attends=False), IDS[0])
    expected = np.tri(12) / np.arange(1, 13)[:, None]
    np.testing.assert_allclose(heads, np.broadcast_to(expected, heads.shape), rtol=1e-5)


def test_a_saved_recurrent_model_is_the_same(tmp_path):
    model = made("recurrent")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(logits(loaded, IDS), logits(model, IDS))


def test_nats_count_each_token_once_and_from_the_context_that_is_said():
    model, rng = made(), np.random.default_rng(2)
    documents = [rng.integers(3, VOCABULARY, size).astype("int32") for size in (1, 8, 13)]
    expected = 0.0
    for document in documents:
        given = np.insert(document[:-1], 0, BORDER)
        for position, label in enumerate(document):
            # Windows of 8 slide by 2: the last that begins at an even position, or at 0.
            start = 0 if position < 8 else -(-(position + 1 - 8) // 2) * 2
            if len(document) < start + 8:  # the last window ends with the text
                start = max(0, len(document) - 8)
            row = logits(model, given[None, start : position + 1])[0, -1].astype("float64")
            expected -= row[label] - np.log(np.exp(row - row.max()).sum()) - row.max()
    assert language_model.nats(model, documents, 8, rows=4) == pytest.approx(expected, rel=1e-5)


def test_prompts_come_from_all_over_the_documents():
    documents = [np.arange(3, 3 + size) for size in (20, 1, 5)]
    found = language_model.prompts(documents, 8, count=100)
    assert [len(ids) for ids in found] == [8, 8, 5, 2, 6]
    assert found[0][0] == found[3][0] == BORDER != found[1][0]
    assert len(language_model.prompts(documents, 8, count=2)) == 2
