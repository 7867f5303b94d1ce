"""The tagger's batches, answers and scores."""

import numpy as np
import pytest

from recipes import tagging
from recipes.data import tagged
from recipes.parts import tagger

TINY = {"units": 4, "embedding_size": 3, "heads": 2, "blocks": 1}


@pytest.fixture(scope="module")
def sentences():
    return tagger.Sentences.of(tagged.load("toy", seed=0, limit=40))


def test_batches_hold_every_sentence_once_with_its_labels(sentences):
    config, data = tagging.Config(batch_size=8, unknown=0.0), sentences.data
    batches = sentences.batches(config, "slots,intent")
    seen = []
    for index in range(len(batches)):
        ids, labels = batches[index]
        assert ids.shape[:2] == labels["slots"].shape and len(ids) == len(labels["intent"])
        np.testing.assert_array_equal(labels["slots"] == tagger.NO_LABEL, ids[:, :, 0] == 0)
        for row, tags, intent in zip(ids, labels["slots"], labels["intent"], strict=True):
            tags = " ".join(data.tags[tag] for tag in tags if tag != tagger.NO_LABEL)
            words = [sentences.vocabulary[number][5:] for number in row[:, 0] if number]
            seen.append((" ".join(words), tags, data.intents[intent]))
    train = data.train
    told = zip(map(str.lower, train.tokens), train.tags, train.intents, strict=True)
    assert sorted(seen) == sorted(told)
    assert set(sentences.batches(config, "intent")[0][1]) == {"intent"}


def test_words_seen_once_are_unknown_now_and_then(sentences):
    config = tagging.Config(batch_size=40, unknown=0.5)
    batches = sentences.batches(config, "slots")
    words = np.concatenate(sentences.ids["train"])[:, 0]
    rare = np.isin(words, sorted(sentences.rare)).sum()
    assert rare > 50
    first, again = batches[0][0], batches[0][0]
    np.testing.assert_array_equal(first, again)  # a resumed epoch is the same
    assert 0.3 * rare < (first[:, :, 0] == 1).sum() < 0.7 * rare
    assert (
        np.isin(first[:, :, 0], sorted(sentences.rare)).sum() == rare - (first[:, :, 0] == 1).sum()
    )
    batches.on_epoch_end()
    assert (batches[0][0] == 1).sum() != (first == 1).sum()


@pytest.mark.parametrize("encoder", ["gru", "transformer"])
@pytest.mark.parametrize("attends", [True, False])
def test_padding_changes_nothing_and_weights_sum_to_one(sentences, encoder, attends):
    config = tagging.Config(encoder=encoder, **TINY)
    _, model = tagging.build_model(config, sentences, "slots,intent", attends)
    ids = tagger.padded(sentences.ids["test"][:1], len(sentences.ids["test"][0]))
    outputs, padded = (
        {name: np.array(x) for name, x in model(rows).items()}
        for rows in (ids, np.pad(ids, ((0, 0), (0, 3), (0, 0))))
    )
    count = ids.shape[1]
    for name in ("tag_weights", "intent_weights"):
        np.testing.assert_allclose(outputs[name].sum(-1), 1, rtol=1e-5)
        if not attends:
            np.testing.assert_allclose(outputs[name], 1 / count, rtol=1e-5)
    for name, value in outputs.items():
        short = padded[name][tuple(map(slice, value.shape))]
        np.testing.assert_allclose(short, value, atol=1e-5)


@pytest.mark.parametrize("task", ["slots", "intent"])
def test_one_task_has_one_head(sentences, task):
    training, use = tagging.build_model(tagging.Config(**TINY), sentences, task)
    assert set(training.output) == {task}
    assert all(name.startswith("tag" if task == "slots" else "intent") for name in use.output)


def test_a_sentence_is_right_if_all_of_it_is():
    split = tagged.Split(["a b", "c"], ["O B-x", "O"], ["yes", "no"])
    tags, intents = [["O", "B-x"], ["O"]], np.array(["yes", "yes"])
    scores = tagger.measure(split, tags, intents)
    assert (scores["slot_f1"], scores["intent_accuracy"], scores["sentence_accuracy"]) == (
        1,
        0.5,
        0.5,
    )
    assert tagger.mean_score(scores) == 0.75
    assert tagger.measure(split, None, intents) == {"intent_accuracy": 0.5}
    assert tagger.measure(split, [["O", "O"], ["O"]], None)["sentence_accuracy"] == 0.5
