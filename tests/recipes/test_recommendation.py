"""The recommendation recipe, as its users run it."""

import errno
import functools
import io
import json
import os
import re
import shutil
import zipfile

import numpy as np
import pytest

from recipes import recommendation as recipe
from recipes.data import interactions
from recipes.data.toy import interactions as toy_interactions
from recipes.data.windows import padded
from recipes.kit import exports, fitting, records
from tests.recipes.command import call_recipe, one_line

# What brings the toy readers to most of what can be known in half a minute.
SETTINGS = {"epochs": 7, "batch_size": 1000, "learning_rate": 0.004, "averaging": 0.98}
SETTINGS |= {"parity_users": 50}
TWO_FORMS = ("tflite", "saved_model")


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
        patch.setattr(recipe, "FORMS", {form: recipe.FORMS[form] for form in TWO_FORMS})
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


# ----------------------------------------------------------------------------- a finished run


def test_run_folder_is_complete(toy_run):
    assert sorted(path.name for path in toy_run.iterdir()) == sorted(
        "README.md history.csv history.png items.txt metrics.json model.keras model.tflite "
        "model_float16.tflite model_int8.tflite parity.json saved_model".split()
    )
    assert not list(toy_run.parent.glob(".*"))


@pytest.mark.parametrize("which", ["toy_run", "target_run"])
def test_scores_are_above_the_baselines(which, request):
    metrics = json.loads((request.getfixturevalue(which) / "metrics.json").read_text())
    scores, baselines = metrics["scores"], metrics["baselines"]
    assert list(scores) == [
        "hr@10", "ndcg@10", "mrr", "hr@10 of 100", "ndcg@10 of 100", "mrr of 100",
    ]  # fmt: skip
    assert scores["hr@10"] > 0.8 and scores["ndcg@10"] > 0.6
    assert baselines["popularity"] < baselines["first-order Markov"] < 0.4
    assert set(metrics["details"]["baseline_scores"]["popularity"]) == set(scores)
    forms = recipe.FORMS if which == "toy_run" else TWO_FORMS
    assert set(metrics["exports"]) == {recipe.FORMS[form] for form in forms}
    for form, export in metrics["exports"].items():
        assert export["bytes"] > 0 and export["milliseconds"] > 0
        assert export["agreement"] >= (0.6 if "int8" in form else 0.98)


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
    recommend, _, _ = recipe._loaded(recipe.PredictConfig(folder=folder, items=(), form=form))
    same = []
    for history in toy.test[0][:12]:
        expected, found = answers(model, history[None]), recommend(history[None])
        same.append(len(set(expected["items"][0]) & set(found["items"][0])) / 10)
        if form in ("tflite", "saved_model"):
            np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(found["weights"], expected["weights"], atol=1e-4)
    assert np.mean(same) >= (0.9 if form == "tflite_int8" else 0.99)


def test_batches_of_padded_histories_in_tflite(toy_run, toy):
    recommend, _, _ = recipe._loaded(recipe.PredictConfig(folder=toy_run, items=()))
    histories = toy.test[0][:5]
    together = recommend(padded(histories))
    for row, history in enumerate(histories):
        alone = recommend(history[None])
        np.testing.assert_allclose(together["scores"][row], alone["scores"][0], rtol=1e-4)


def test_items_are_attached_to_the_tflite_file(toy_run, toy):
    with zipfile.ZipFile(toy_run / "model_int8.tflite") as archive:
        lines = archive.read("items.txt").decode().split("\n")
    assert lines == [f"{i}\t{t}" for i, t in zip(toy.items, toy.titles, strict=True)]
    assert (toy_run / "items.txt").read_text() == "\n".join(lines) + "\n"


def test_model_card_and_picture(toy_run):
    card = (toy_run / "README.md").read_text()
    for part in ("## Limits", "## Figures", "Markov", "model_int8.tflite", "of 100", "last 30"):
        assert part in card
    assert (toy_run / "history.png").read_bytes()[:4] == b"\x89PNG"


# --------------------------------------------------------------------------------- the models


def small(**changes):
    return recipe._checked(recipe.Config(max_history=8, size=8, **changes))


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
    recipe.compile_model(config, training)
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


GOOD = "user,item,time\n" + "".join(
    f"u{user},i{(user + n) % 15},{n}\n" for user in range(12) for n in range(6)
)


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (None, r"interactions\.csv"),
        ("", r"interactions\.csv.*empty"),
        ("user,film,time\na,b,1\n", r"interactions\.csv:1.*'item'.*'film'"),
        (GOOD + "a,b,soon\n", r"interactions\.csv:74.*time.*'soon'"),
        (GOOD + "a,b\n", r"interactions\.csv:74.*3 fields"),
        ("user,item,time\na,x,1\na,y,2\nb,x,1\n", "4 items or more.*The longest history has 2"),
    ],
    ids=["no file", "empty", "column", "time", "fields", "short histories"],
)
def test_bad_data_is_one_line_and_nothing_is_left(tmp_path, capfd, content, pattern):
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / "interactions.csv").write_text(content)
    assert run("train", "--data", tmp_path / "data", "--output", tmp_path / "out") == 2
    one_line(capfd, pattern)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--attention", "target", "--loss", "softmax"], "needs --loss binary"),
        (["--heads", "3"], "--heads must divide --size"),
        (["--max-history", "1"], "--max-history must be at least 2"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, capfd, flags, pattern):
    assert run("train", *flags, "--output", tmp_path / "out") == 2
    one_line(capfd, pattern)
    assert not list(tmp_path.iterdir())


def test_tfds_without_network(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("recipes.data.tfds.is_reachable", lambda *args, **kwargs: False)
    source = ["--data", "tfds:movielens/1m-ratings", "--data-dir", tmp_path / "empty"]
    assert run("train", *source, "--output", tmp_path / "out") == 2
    one_line(capfd, "movielens/1m-ratings.*network")


def test_a_title_is_found_without_its_year():
    titles = ["Alien (1979)", "Aliens (1986)", "Up (2009)"]
    assert [recipe._find(name, ["a", "b", "c"], titles) for name in ("alien", "up", "c")] == [
        1,
        3,
        3,
    ]


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
    one_line(capfd, "Expected past items, one a line. Standard input has none")


@pytest.mark.parametrize("broken", ["model.tflite", "metrics.json", "items.txt"])
def test_predict_with_a_broken_folder(toy_run, tmp_path, capfd, broken):
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    (folder / broken).write_bytes(b"\xff\x00 not what it was")
    assert run("predict", folder, "1") == 2
    one_line(capfd, "run")
    (folder / broken).unlink()
    assert run("predict", folder, "1") == 2
    one_line(capfd, f"{broken}|metrics")


def test_predict_with_a_wrong_folder(tmp_path, capfd):
    assert run("predict", tmp_path / "nowhere", "1") == 2
    one_line(capfd, "There is none")
    (tmp_path / "metrics.json").write_text('{"recipe": "sentiment_analysis"}')
    for name in ("model.tflite", "items.txt"):
        (tmp_path / name).touch()
    assert run("predict", tmp_path, "1") == 2
    one_line(capfd, "names sentiment_analysis")


# ------------------------------------------------------------------- small data, interrupted


def test_names_that_are_no_numbers_no_titles_and_a_full_disk(tmp_path, capfd, monkeypatch):
    """Fifteen items, of which some are in every history: less than ten are left for some."""

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "interactions.csv").write_text(GOOD + "short,i1,1\n")
    flags = ["--data", tmp_path / "data", "--output", tmp_path / "out", "--epochs", 2]
    flags += ["--size", 8, "--loss", "binary", "--negatives", 2, "--mixed-precision"]
    monkeypatch.setattr(recipe, "FORMS", {"tflite": recipe.FORMS["tflite"]})
    with monkeypatch.context() as patch:
        patch.setattr(exports, "export", lambda *args, **kwargs: {})
        patch.setattr(records, "write_metrics", full)  # after training, in the middle of writing
        assert run("train", *flags) == 2
    one_line(capfd, "disk is full")
    assert not (tmp_path / "out").exists()
    assert run("train", *flags) == 0
    shown = capfd.readouterr().out
    assert "Resuming after the end of training" in shown
    assert "1 user with fewer than 3 items was left out" in shown
    assert run("predict", tmp_path / "out", *(f"i{n}" for n in range(9))) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line]
    assert len(lines) == 1 + 6  # six items are left
    assert {line.split()[1] for line in lines[1:]} == {f"i{n}" for n in range(9, 15)}
