"""The recommendation recipe, as its users run it."""

import functools
import io
import json
import re
import zipfile

import numpy as np
import pytest

from recipes import recommendation as recipe
from recipes.data import interactions
from recipes.data.batches import padded
from recipes.data.toy import interactions as toy_interactions
from recipes.kit import exports, fitting
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

# What brings the toy readers to most of what can be known in half a minute.
SETTINGS = {"epochs": 7, "batch_size": 1000, "learning_rate": 0.004, "averaging": 0.98}
SETTINGS |= {"parity_users": 50, "explained": 20}
TWO_FORMS = ("tflite", "saved_model")
GOOD = "user,item,time\n" + "".join(
    f"u{user},i{(user + n) % 15},{n}\n" for user in range(12) for n in range(6)
)


run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run with self-attention on the toy readers."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(recipe.Config(data="toy", output=output, **SETTINGS))
    return output


@pytest.fixture(scope="module")
def target_run(tmp_path_factory):
    """The same with target attention, in two forms."""
    output = tmp_path_factory.mktemp("saved_models") / "target"
    settings = SETTINGS | {"attention": "target", "epochs": 10, "size": 32, "parity_users": 10}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "FORMS", {form: recipe.FORMS[form] for form in TWO_FORMS})
        recipe.train(recipe.Config(data="toy", output=output, **settings))
    return output


@pytest.fixture(scope="module")
def toy():
    return interactions.load("toy", seed=0)


@functools.cache
def loaded(folder):
    import keras

    import keras_attention  # noqa: F401  (they make their layers known)
    from recipes.parts import next_item  # noqa: F401

    return keras.models.load_model(folder / "model.keras")


def answers(model, history):
    return {name: np.array(value) for name, value in model(history, training=False).items()}


@pytest.fixture
def finished(toy_run):
    return toy_run


class TestContract(RecipeContract):
    recipe = recipe
    units = ("item",)
    files = ("items.txt",)
    card = ("Markov", "of 100", "last 30")
    agreement = {"tflite_int8": 0.6, "tflite_float16": 0.9}
    bad_data = (
        ({}, r"interactions\.csv"),
        ({"interactions.csv": ""}, r"interactions\.csv.*empty"),
        (
            {"interactions.csv": "user,film,time\na,b,1\n"},
            r"interactions\.csv:1.*'item'.*'film'",
        ),
        ({"interactions.csv": GOOD + "a,b,soon\n"}, r"interactions\.csv:74.*time.*'soon'"),
        ({"interactions.csv": GOOD + "a,b\n"}, r"interactions\.csv:74.*3 fields"),
        (
            {"interactions.csv": "user,item,time\na,x,1\na,y,2\nb,x,1\n"},
            "4 items or more.*The longest history has 2",
        ),
    )
    bad_flags = (
        (["--attention", "target", "--loss", "softmax"], "needs --loss binary"),
        (["--heads", "3"], "--heads must divide --size"),
        (["--max-history", "1"], "--max-history must be at least 2"),
    )
    tfds = ("movielens/1m-ratings", "movielen/1m-ratings")
    quick = "--explained 0 --limit 100 --epochs 1 --size 8 --parity-users 2".split()
    asked = ("1",)
    broken = ("model.tflite", "metrics.json", "items.txt")
    toy = {
        "scores": {
            "hr@10": 0.887,
            "ndcg@10": 0.7731,
            "mrr": 0.7397,
            "hr@10 of 100": 0.913,
            "ndcg@10 of 100": 0.8302,
            "mrr of 100": 0.8058,
        },
        "baselines": {
            "item kNN, recent items most": 0.924,  # of which fewer are first: its NDCG is 0.63
            "first-order Markov": 0.1975,
            "popularity": 0.0385,
        },
        "epochs": 7,
        "parameters": 87488,
    }


@pytest.mark.parametrize("which", ["toy_run", "target_run"])
def test_scores_are_above_the_baselines(which, request):
    metrics = json.loads((request.getfixturevalue(which) / "metrics.json").read_text())
    scores, baselines = metrics["scores"], metrics["baselines"]
    assert list(scores) == [
        "hr@10", "ndcg@10", "mrr", "hr@10 of 100", "ndcg@10 of 100", "mrr of 100",
    ]  # fmt: skip
    assert scores["hr@10"] > 0.8 and scores["ndcg@10"] > 0.6
    assert baselines["popularity"] < baselines["first-order Markov"] < 0.4
    knn = metrics["details"]["baseline_scores"]["item kNN, recent items most"]
    assert 0.5 < knn["ndcg@10"] < scores["ndcg@10"]
    assert set(metrics["details"]["baseline_scores"]["popularity"]) == set(scores)
    forms = recipe.FORMS if which == "toy_run" else TWO_FORMS
    assert set(metrics["exports"]) == {recipe.FORMS[form] for form in forms}
    for form, export in metrics["exports"].items():
        assert export["bytes"] > 0 and export["milliseconds"] > 0
        # Ten items that are near to each other.
        least = {"model_int8.tflite": 0.6, "model_float16.tflite": 0.9}
        assert export["agreement"] >= least.get(form, 0.98)


def series_of(items):
    return (np.asarray(items) - 1) // toy_interactions.VOLUMES


def test_self_attention_looks_at_the_books_that_decided(toy_run, toy):
    readers = toy_interactions.generate(len(toy.histories), seed=0)
    histories, targets = padded(toy.test[0]), toy.test[1]
    outputs = answers(loaded(toy_run), histories)
    deciding = [  # where next books foreseen had their volume before
        (row, histories.shape[1] - len(reader.items) + 1 + reader.deciding[-1])
        for row, reader in enumerate(readers)
        if reader.deciding[-1] is not None and outputs["items"][row, 0] == targets[row]
    ]
    assert len(deciding) > 0.6 * len(readers)
    rows, places = np.array(deciding).T
    weights = outputs["weights"][rows]
    best = np.argsort(-weights, axis=1)[:, :3]  # those that `predict` shows
    looked_at = histories[rows, best[:, 0]]
    assert np.mean(series_of(looked_at) == series_of(targets[rows])) >= 0.75
    assert np.mean((best == places[:, None]).any(axis=1)) >= 0.75


def test_target_attention_looks_at_the_books_of_the_series(target_run, toy):
    histories = padded(toy.test[0])
    outputs = answers(loaded(target_run), histories)
    looked_at = np.take_along_axis(histories, outputs["weights"][:, 0].argmax(-1)[:, None], 1)
    assert np.mean(series_of(looked_at[:, 0]) == series_of(outputs["items"][:, 0])) >= 0.95
    # Each candidate has weights of its own.
    assert np.abs(np.diff(outputs["weights"], axis=1)).max() > 0.5


@pytest.mark.parametrize("which", ["toy_run", "target_run"])
def test_items_are_new_and_best_first_and_padding_changes_nothing(which, request, toy):
    model = loaded(request.getfixturevalue(which))
    history = toy.test[0][0][None, :9]
    outputs = answers(model, history)
    assert not set(outputs["items"][0]) & set(history[0])
    assert (np.diff(outputs["scores"][0]) <= 0).all()
    assert outputs["scores"].min() > 0 and outputs["scores"].max() < 1
    np.testing.assert_allclose(outputs["weights"].sum(-1), 1, rtol=1e-5)
    wide = answers(model, np.pad(history, ((0, 0), (6, 0))))
    np.testing.assert_array_equal(wide["items"], outputs["items"])
    np.testing.assert_allclose(wide["scores"], outputs["scores"], rtol=1e-4)
    np.testing.assert_allclose(wide["weights"][..., 6:], outputs["weights"], atol=1e-5)
    np.testing.assert_array_equal(wide["weights"][..., :6], 0)


def test_what_lies_further_back_than_max_history_is_left_out_but_not_seen(toy_run):
    model = loaded(toy_run)
    history = np.arange(1, 51, dtype="int32")[None]
    long, short = answers(model, history), answers(model, history[:, -30:])
    assert long["weights"].shape == (1, 30)
    np.testing.assert_allclose(long["weights"], short["weights"], atol=1e-6)
    assert set(short["items"][0]) & set(range(1, 21)) or set(short["items"][0]) == set(
        long["items"][0]
    )
    assert not set(long["items"][0]) & set(range(1, 51))


def test_attention_maps_reads_the_trained_model(toy_run):
    import keras_attention as ka

    maps = ka.attention_maps(loaded(toy_run), np.array([[5, 6, 7]], "int32"))
    assert {name: weights.shape for name, weights in maps.items()} == {
        "block_0": (1, 2, 3, 3),
        "block_1": (1, 2, 3, 3),
    }
    for weights in maps.values():
        assert np.triu(weights, 1).max() == 0  # no step sees a later one


@pytest.mark.parametrize(
    ("which", "form"),
    [*(("toy_run", form) for form in recipe.FORMS), *(("target_run", form) for form in TWO_FORMS)],
)
def test_every_form_gives_the_keras_models_answer(which, form, request, toy):
    folder = request.getfixturevalue(which)
    model = loaded(folder)
    recommend = exports.runner(folder / recipe.FORMS[form], "recommend")
    same = []
    for history in toy.test[0][:12]:
        expected, found = answers(model, history[None]), recommend(history=history[None])
        same.append(len(set(expected["items"][0]) & set(found["items"][0])) / 10)
        if form in ("tflite", "saved_model"):
            np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(found["weights"], expected["weights"], atol=1e-4)
    assert np.mean(same) >= (0.9 if form == "tflite_int8" else 0.99)


def test_batches_of_padded_histories_in_tflite(toy_run, toy):
    recommend = exports.runner(toy_run / "model.tflite", "recommend")
    histories = toy.test[0][:5]
    together = recommend(history=padded(histories))
    for row, history in enumerate(histories):
        alone = recommend(history=history[None])
        np.testing.assert_allclose(together["scores"][row], alone["scores"][0], rtol=1e-4)


def test_items_are_attached_to_the_tflite_file(toy_run, toy):
    with zipfile.ZipFile(toy_run / "model_int8.tflite") as archive:
        lines = archive.read("items.txt").decode().split("\n")
    assert lines == [f"{i}\t{t}" for i, t in zip(toy.items, toy.titles, strict=True)]
    assert (toy_run / "items.txt").read_text() == "\n".join(lines) + "\n"


# --------------------------------------------------------------------------------- the models


def small(**changes):
    return recipe.checked(recipe.Config(max_history=8, size=8, **changes))


def test_training_sees_no_later_item_and_scores_as_ranking_does():
    training, ranking, _ = recipe.build_model(small(), 20)
    history = np.array([[0, 3, 9, 4, 7]], "int32")

    def likelihood(history, target):
        return np.array(training({"history": history, "target": target}))

    one = likelihood(history, np.array([[0, 9, 4, 7, 11]]))
    changed = history.copy()
    changed[0, -1] = 15
    other = likelihood(changed, np.array([[0, 9, 4, 7, 12]]))
    np.testing.assert_allclose(one[0, 1:-1], other[0, 1:-1], rtol=1e-5)
    assert abs(one[0, -1] - other[0, -1]) > 1e-3
    twelve = likelihood(history, np.array([[0, 9, 4, 7, 12]]))
    logits = np.array(ranking(history))[0]
    np.testing.assert_allclose(
        one[0, -1] - twelve[0, -1], logits[10] - logits[11], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("attention", ["self", "target"])
def test_binary_loss_is_that_of_the_ranking(attention, negatives):
    config = small(attention=attention, loss="binary", negatives=negatives)
    training, ranking, _ = recipe.build_model(config, 20)
    history = np.array([[0, 0, 3, 9]], "int32")
    others = np.arange(10, 10 + negatives)
    inputs = {"history": history, "target": np.array([[0, 0, 9, 5]])}
    inputs["negatives"] = np.broadcast_to(others, (1, 4, negatives))
    logits = np.array(ranking(history), "float64")[0]
    expected = -np.log1p(np.exp(-logits[4])) - np.log1p(np.exp(logits[others - 1])).sum()
    np.testing.assert_allclose(np.array(training(inputs))[0, -1], expected, rtol=1e-4)


@pytest.mark.parametrize("attention", ["self", "target"])
def test_losses_fall_in_mixed_precision(attention):
    config = small(attention=attention, loss="binary", mixed_precision=True, learning_rate=0.01)
    fitting.set_up_keras(0, mixed_precision=True)
    try:
        training, ranking, _ = recipe.build_model(config, 20)
    finally:
        fitting.set_up_keras(0)
    recipe.compile_model(config, training, range(100))
    inputs = {
        "history": np.array([[0, 3, 9, 4]]),
        "target": np.array([[0, 9, 4, 7]]),
        "negatives": np.array([[[2], [11], [12], [13]]]),
    }
    weights = np.array([[0.0, 1, 1, 1]], "float32")
    losses = [float(training.train_on_batch(inputs, weights)) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert np.array(ranking(inputs["history"])).dtype == "float32"


# ------------------------------------------------------------------------------------ predict


@pytest.mark.parametrize("form", recipe.FORMS)
def test_predict_names_the_next_volume_and_what_counted(toy_run, form, capfd):
    read = ["The Salt Compass 2", "the glass harbour 9", "The Salt Compass 3", "226", "195"]
    titles = [toy_interactions.TITLES.get(name, name) for name in read]
    assert titles[-2:] == ["The Silver River 10", "The Salt Compass 3"]
    history = [*read[:3], "The Glass Harbour 10", "The Salt Compass 4"]
    assert run("predict", toy_run, *history, "--form", form, "--top", 3) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line]
    assert re.match(r"Past items that counted: The .* \(\d+%\), The .*, The .*", lines[0])
    assert len(lines) == 4
    assert any("The Glass Harbour 11" in line for line in lines[1:])
    assert re.match(r" 1\. The \w+ \w+ \d+  0\.\d{4}$", lines[1])


def test_predict_with_target_attention_gives_reasons_for_each_item(target_run, capfd):
    history = ["The Salt Compass 2", "The Glass Harbour 9", "The Salt Compass 3"]
    assert run("predict", target_run, *history) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line]
    assert len(lines) == 10
    line = next(line for line in lines if ". The Glass Harbour 10" in line)
    assert "because of The Glass Harbour 9 (" in line


def test_predict_reads_a_file_and_standard_input(toy_run, tmp_path, monkeypatch, capfd):
    (tmp_path / "history.txt").write_text("\ufeffThe Salt Compass 2\n\n 193 \n", encoding="utf-8")
    assert run("predict", toy_run, "--file", tmp_path / "history.txt") == 0
    from_file = capfd.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("The Salt Compass 2\n193\n"))
    assert run("predict", toy_run) == 0
    assert [line for line in capfd.readouterr().out.splitlines() if line] == [
        line for line in from_file.splitlines() if line
    ]


def test_one_past_item_is_enough(toy_run, capfd):
    assert run("predict", toy_run, "1") == 0
    assert "The Amber Orchard 1 (100%)" in capfd.readouterr().out


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["The Salt Compass"], "Expected one item. 'The Salt Compass' may be: The Salt Compass 1,"),
        (["A book of ours"], "Expected an item that the model knows. Received: 'A book of ours'"),
        (["1", "--file", "x"], "Received both"),
        (["--file", "nowhere.txt"], "nowhere.txt"),
        (["1", "--top", "11"], "--top must be at most 10"),
    ],
)
def test_predict_with_items_that_it_cannot_find(toy_run, capfd, arguments, pattern):
    assert run("predict", toy_run, *arguments) == 2
    one_line(capfd, pattern)


def test_predict_with_an_empty_history(toy_run, monkeypatch, capfd):
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    assert run("predict", toy_run) == 2
    one_line(capfd, "Expected past items, one per line. Standard input has none")


# ------------------------------------------------------------------------------- small data


def test_names_that_are_no_numbers_and_no_titles(tmp_path, capfd, monkeypatch):
    """Fifteen items, of which some are in every history: less than ten are left for some."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "interactions.csv").write_text(GOOD + "short,i1,1\n")
    flags = ["--data", tmp_path / "data", "--output", tmp_path / "out", "--epochs", 2]
    flags += ["--size", 8, "--loss", "binary", "--negatives", 2, "--mixed-precision"]
    monkeypatch.setattr(exports, "FORMS", {"tflite": recipe.FORMS["tflite"]})
    assert run("train", *flags) == 0
    shown = capfd.readouterr().out
    assert "1 user with fewer than 3 items was left out" in shown
    assert run("predict", tmp_path / "out", *(f"i{n}" for n in range(9))) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line]
    assert len(lines) == 1 + 6  # six items are left
    assert {line.split()[1] for line in lines[1:]} == {f"i{n}" for n in range(9, 15)}
