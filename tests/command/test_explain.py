"""`keras-attention explain`."""

import keras
import numpy as np
import pytest

import keras_attention as ka

SAMPLES = "model.keras", "--samples", "ids.npy"


def _figures(shown):
    """From a figure's name to that of the weights and that of random ones."""
    rows = [line.split() for line in shown.splitlines() if line[:1] not in ("", " ")]
    return {row[0]: [float(x) for x in row[1:]] for row in rows if len(row) == 3}


def test_weights_that_decide_beat_random_ones(call):
    code, shown, error = call("explain", *SAMPLES, "--class", 1)
    assert code == 0 and error == ""
    assert "30 rows predicted as class 1" in shown
    figures = _figures(shown)
    own, random = figures["comprehensiveness"]
    assert own > 0.8 > 0.5 > random
    own, random = figures["sufficiency"]
    assert own < 0.1 < 0.3 < random
    assert "needs the steps of the largest weights more than random ones." in shown
    assert "keep the prediction better than random ones." in shown


def test_weights_that_decide_nothing_are_told(call):
    code, shown, _ = call("explain", *SAMPLES, "--class", 0)
    assert code == 0 and "10 rows predicted as class 0" in shown
    assert shown.count("as far as these rows tell") == 2


def test_the_seed_repeats(call, tmp_path):
    np.save(tmp_path / "few.npy", np.load(SAMPLES[2])[:6])
    samples = "model.keras", "--samples", tmp_path / "few.npy"
    shown = [call("explain", *samples, "--seed", seed)[1] for seed in (3, 3, 4)]
    assert shown[0] == shown[1] != shown[2]


def test_a_page_with_all_tests(call, refused, tmp_path):
    page = tmp_path / "page.html"
    code, shown, _ = call("explain", *SAMPLES, "--class", 1, "--html", page)
    assert code == 0 and f"Wrote {page}" in shown and "The maps can be believed" in shown
    assert page.read_text().count("<h3>") == 10
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert "in a folder that exists" in refused(
        "explain", *SAMPLES, "--html", tmp_path / "none" / "page.html"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "mix"], "one weight per step of the input, (40, 12). Received: 'mix'"),
        (["--layer", "pol"], "Expected as --layer one of ['mix', 'pool']"),
        (["--class", "2"], "--class must be from 0 to 1"),
        (["--padding", "0.5"], "`padding` must be a number"),
    ],
)
def test_rejects_wrong_options(refused, arguments, message):
    assert message in refused("explain", *SAMPLES, *arguments)


def _model(folder, *, inputs=1, outputs=1, activation="softmax"):
    tensors = [keras.Input((3, 2), name=f"in{i}") for i in range(inputs)]
    x = tensors[0] if inputs == 1 else keras.layers.Add()(tensors)
    x = ka.AttentionPooling(name="pool")(x)
    heads = [keras.layers.Dense(2, activation, bias_initializer="ones")(x) for _ in range(outputs)]
    model = keras.Model(tensors, heads[0] if outputs == 1 else heads)
    model.save(folder / "model.keras")
    np.savez(folder / "x.npz", **{f"in{i}": np.ones((4, 3, 2)) for i in range(inputs)})
    return folder / "model.keras", "--samples", folder / "x.npz"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": 2}, "with one input"),
        ({"outputs": 2}, "with one output"),
        ({"activation": "softplus"}, "logits need a softmax"),
    ],
)
def test_rejects_a_model_that_it_cannot_explain(refused, tmp_path, changes, message):
    assert message in refused("explain", *_model(tmp_path, **changes))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["heads"], "layer with one weight per step of the input, (4, 3), such as Attention"),
        (["a", "b"], "Expected --layer, as several have one weight per step of the input: a, b"),
    ],
)
def test_tells_which_layers_there_are(refused, tmp_path, layers, message):
    inputs = keras.Input((3, 2))
    if layers == ["heads"]:
        x = ka.MultiHeadAttention(1, 2, name="heads")(inputs, inputs)
        pooled = [keras.layers.GlobalAveragePooling1D()(x)]
    else:
        pooled = [ka.AttentionPooling(name=name)(inputs) for name in layers]
    x = keras.layers.Dense(2, "softmax")(keras.layers.concatenate([*pooled, *pooled]))
    keras.Model(inputs, x).save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", np.ones((4, 3, 2), "float32"))
    assert message in refused("explain", tmp_path / "model.keras", "--samples", tmp_path / "x.npy")


def test_features_are_explained_too(call, tmp_path):
    code, shown, _ = call("explain", *_model(tmp_path))
    assert code == 0 and "4 rows." in shown
