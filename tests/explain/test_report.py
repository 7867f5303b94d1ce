"""explanation_report: figures from their equations, how it runs, and what it refuses."""

import itertools
import json
import threading

import numpy as np
import pytest

import keras_attention as ka
from tests.backend import of_no_backend
from tests.explain.texts import judge, judge_steps, make_texts

TENTHS = range(0, 101, 10)  # per cent, the steps of AOPC
FRACTIONS = (1, 5, 10, 20, 50)  # per cent, as in `faithfulness`
CURVES = sorted({*TENTHS, *FRACTIONS})


def _expected(p, units, said):
    """The figures of one example, from the equations.

    Args:
        p: Function from a set of parts to the probabilities `(C,)` of the example with these alone.
        units: List of the parts of the example.
        said: What a method says of each part, by its number.
    """
    whole = p(set(units))
    chosen = max(range(len(whole)), key=lambda c: whole[c])
    by_value = sorted(units, key=lambda unit: -said[unit])  # stable: ties by position

    def number(percent):
        return -(-percent * len(units) // 100)  # rounded up

    def without(percent):
        return p(set(by_value[number(percent) :]))[chosen]

    def alone(percent):
        return p(set(by_value[: number(percent)]))[chosen]

    falls = [whole[chosen] - without(k) for k in TENTHS]
    return {
        "aopc": sum(falls) / len(falls),  # Samek et al., 2017, eq. 12, of one example
        "comprehensiveness": np.mean([whole[chosen] - without(k) for k in FRACTIONS]),
        "sufficiency": np.mean([whole[chosen] - alone(k) for k in FRACTIONS]),
        "insertion": np.mean([alone(k) for k in TENTHS]),
        "deletion curve": [without(k) for k in CURVES],
        "insertion curve": [alone(k) for k in CURVES],
        "leave-one-out": {u: whole[chosen] - p(set(units) - {u})[chosen] for u in units},
    }


def _check(report, ps, units, said):
    """All figures of a report against the equations, for the methods in `said` and the known ones.

    Args:
        ps: One function for each example, see `_expected`.
        units: List of the parts of each example.
        said: Dict from method to a list of dicts or arrays, one for each example.
    """
    nothing = [dict.fromkeys(u, 0.0) for u in units]
    alone = [
        _expected(p, u, n)["leave-one-out"] for p, u, n in zip(ps, units, nothing, strict=True)
    ]
    said = {**said, "uniform": nothing, "leave-one-out": alone}
    assert set(report.figures) == {*said, "random"} == set(report.curves)
    assert set(report.attributions) == set(said) - {"uniform"}
    np.testing.assert_allclose(report.fractions, np.array(CURVES) / 100)
    for b, u in enumerate(units):
        assert np.flatnonzero(report.mask[b]).tolist() == u
        for i in u:
            assert report.attributions["leave-one-out"][b, i] == pytest.approx(alone[b][i])
    for name, of_examples in said.items():
        each = [_expected(p, u, s) for p, u, s in zip(ps, units, of_examples, strict=True)]
        for figure in ("aopc", "comprehensiveness", "sufficiency", "insertion"):
            mean = np.mean([e[figure] for e in each])
            assert report.figures[name][figure] == pytest.approx(mean, abs=1e-6), (name, figure)
        aopc = [e["aopc"] for e in each]
        error = np.std(aopc, ddof=1) / np.sqrt(len(aopc))
        assert report.figures[name]["error"] == pytest.approx(error, abs=1e-6)
        for curve in ("deletion", "insertion"):
            mean = np.mean([e[f"{curve} curve"] for e in each], axis=0)
            np.testing.assert_allclose(report.curves[name][curve], mean, atol=1e-6)


def _of_ids(row):
    """`p` of `_expected`: the ids of the kept steps alone, then padding."""

    def p(kept):
        left = [token for step, token in enumerate(row) if step in kept]
        return judge(np.array([left + [0] * (len(row) - len(left))]))[0]

    return p


def test_figures_of_ids_of_different_lengths():
    ids = make_texts()
    weights, rival = np.random.default_rng(1).normal(size=(2, *ids.shape))
    report = ka.explanation_report(judge, ids, weights, rivals={"other": rival}, batch_size=4)
    units = [[step for step, token in enumerate(row) if token] for row in ids]
    _check(report, [_of_ids(row) for row in ids], units, {"attention": weights, "other": rival})
    np.testing.assert_allclose(report.probabilities, judge(ids))
    figures = ka.faithfulness(judge, ids, weights)
    for name in ("comprehensiveness", "sufficiency"):
        assert report.figures["attention"][name] == pytest.approx(figures[name].mean())


def test_parts_of_equal_weight_are_removed_in_random_order():
    row, weights = [3, 14, 9, 2, 17, 6], [0.2, 0.5, 0.2, 0.1, 0.2, 0.1]
    weights = np.array(weights)
    report = ka.explanation_report(judge, np.tile(row, (300, 1)), np.tile(weights, (300, 1)))
    orders = [  # the places of the 0.5, of the three 0.2 and of the two 0.1
        dict(zip([1, *middle, *last], range(6, 0, -1), strict=True))
        for middle in itertools.permutations([0, 2, 4])
        for last in itertools.permutations([3, 5])
    ]
    each = [_expected(_of_ids(row), list(range(6)), order) for order in orders]
    got = report.figures["attention"]
    assert got["error"] < 0.01
    for name in ("aopc", "comprehensiveness", "sufficiency", "insertion"):
        assert got[name] == pytest.approx(np.mean([e[name] for e in each]), abs=4 * got["error"])


def test_figures_of_features_with_a_mask():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(5, 8, 3)), rng.random((5, 8))
    mask = rng.random((5, 8)) < 0.7  # also in the midst

    x = np.where(mask[:, :, None], x, -1.0)

    def predict(x):
        """Of the steps that are not -1, moved to the start."""
        order = np.argsort((x == -1).all(-1), axis=1, kind="stable")
        x = np.take_along_axis(x, order[:, :, None], axis=1)
        return judge_steps(x.sum(-1), (x != -1).any(-1))

    def of_row(row):
        def p(kept):
            left = [step for number, step in enumerate(row) if number in kept]
            return predict(np.array([left + [np.full(3, -1.0)] * (len(row) - len(left))]))[0]

        return p

    report = ka.explanation_report(predict, x, weights, mask, padding=-1, batch_size=2)
    units = [np.flatnonzero(row).tolist() for row in mask]
    _check(report, [of_row(row) for row in x], units, {"attention": weights})


#        [CLS] un ##like ##ly  good  [SEP]
PIECES = np.array(
    [[30, 4, 5, 6, 7, 31, 0, 0], [30, 8, 9, 31, 0, 0, 0, 0], [30, 3, 4, 5, 6, 7, 8, 31]]
)
WORDS = np.array(
    [
        [-1, 0, 0, 0, 1, -1, -1, -1],
        [-1, 0, 0, -1, -1, -1, -1, -1],
        [-1, 0, 1, 2, 2, 3, 1, -1],  # word 1 in two places
    ]
)


def test_figures_of_words_of_pieces():
    weights = np.random.default_rng(0).random(PIECES.shape)
    report = ka.explanation_report(judge, PIECES, weights, groups=WORDS, unit="word")

    def of_row(ids, groups):
        def p(kept):
            left = [i for i, g in zip(ids, groups, strict=True) if i and (g in kept or g == -1)]
            return judge(np.array([left + [0] * (8 - len(left))]))[0]

        return p

    units = [[0, 1], [0], [0, 1, 2, 3]]
    totals = [
        {word: sum(w[groups == word]) for word in of_row}
        for w, groups, of_row in zip(weights, WORDS, units, strict=True)
    ]
    ps = [of_row(*row) for row in zip(PIECES, WORDS, strict=True)]
    _check(report, ps, units, {"attention": totals})
    for b, of_row in enumerate(totals):
        for word, total in of_row.items():
            assert report.attributions["attention"][b, word] == pytest.approx(total)


def test_figures_of_sentences():
    ids = np.array([[5, 6, 1, 7, 8, 9, 1, 2, 1, 0], [2, 3, 4, 1, 5, 1, 0, 0, 0, 0]])
    sentences = np.cumsum(ids == 1, axis=1) - (ids == 1)  # 1 is the full stop
    weights = np.random.default_rng(0).random(ids.shape)
    report = ka.explanation_report(judge, ids, weights, groups=sentences, unit="sentence")

    def of_row(ids, groups):
        def p(kept):
            left = [i for i, g in zip(ids, groups, strict=True) if i and g in kept]
            return judge(np.array([left + [0] * (10 - len(left))]))[0]

        return p

    units = [[0, 1, 2], [0, 1]]
    totals = [
        {s: sum(w[(g == s) & (i > 0)]) for s in of_row}
        for w, g, i, of_row in zip(weights, sentences, ids, units, strict=True)
    ]
    ps = [of_row(*row) for row in zip(ids, sentences, strict=True)]
    _check(report, ps, units, {"attention": totals})


def test_figures_of_texts_with_a_function_that_removes():
    texts = ["a good film", "bad", "not a very good film at all", "good bad good"]
    split = [text.split() for text in texts]
    mask = np.array([[number < len(words) for number in range(7)] for words in split])
    weights = np.random.default_rng(0).random(mask.shape)

    def p_of(words):
        score = sum(
            (w == "good") - (w == "bad") + 0.1 * len(w) / (1 + i) for i, w in enumerate(words)
        )
        return 1 / (1 + np.exp(-score))

    def predict(texts):
        assert isinstance(texts, list)
        return np.array([p_of(text.split()) for text in texts])  # (B,), of the second class

    def remove(texts, keep):
        assert keep.dtype == bool
        assert keep.shape == (len(texts), 7)
        return [
            " ".join(
                word for word, k in zip(text.split(), row[: len(text.split())], strict=True) if k
            )
            for text, row in zip(texts, keep, strict=True)
        ]

    report = ka.explanation_report(
        predict, texts, weights, mask, remove=remove, batch_size=3, unit="word"
    )

    def of_row(words):
        def p(kept):
            found = p_of([word for number, word in enumerate(words) if number in kept])
            return [1 - found, found]

        return p

    units = [list(range(len(words))) for words in split]
    _check(report, [of_row(words) for words in split], units, {"attention": weights})
    np.testing.assert_allclose(report.probabilities[:, 1], [p_of(words) for words in split])


def test_figures_of_structures_with_a_function_that_removes():
    rng = np.random.default_rng(0)
    inputs = {"left": rng.normal(size=(5, 4)), "right": [rng.normal(size=(5, 4, 2))]}
    weights = rng.random((5, 4))

    def predict(x):
        score = (np.sin(x["left"]) + x["right"][0].prod(-1)).sum(1)
        return (1 / (1 + np.exp(-score)))[:, None]  # (B, 1)

    def remove(x, keep):
        return {"left": x["left"] * keep, "right": [x["right"][0] * keep[:, :, None]]}

    report = ka.explanation_report(predict, inputs, weights, remove=remove, batch_size=2)

    def of_row(b):
        def p(kept):
            score = sum(
                np.sin(inputs["left"][b, u]) + inputs["right"][0][b, u].prod() for u in kept
            )
            found = 1 / (1 + np.exp(-score))
            return [1 - found, found]

        return p

    _check(report, map_of(of_row, 5), [[0, 1, 2, 3]] * 5, {"attention": weights})


def map_of(function, count):
    return [function(number) for number in range(count)]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_figures_of_images_with_a_grid(dtype):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 6, 8, 3)) if dtype == "uint8" else rng.random((4, 6, 8, 3))
    images, weights = images.astype(dtype), rng.random((4, 3, 2))
    scale = 255 if dtype == "uint8" else 1
    place = rng.normal(size=(6, 8, 3))

    def predict(images):
        assert images.dtype == dtype
        score = (images / scale * place).sum((1, 2, 3))
        return 1 / (1 + np.exp(-score))

    report = ka.explanation_report(predict, images, weights, batch_size=3, unit="cell")

    def of_row(image):
        colour = image.reshape(-1, 3).mean(0)
        colour = np.round(colour) if dtype == "uint8" else colour

        def p(kept):
            left = image.copy()
            for row, column in itertools.product(range(6), range(8)):
                if row // 2 * 2 + column // 4 not in kept:  # cells of 2 x 4 pixels
                    left[row, column] = colour
            found = predict(left[None])[0]
            return [1 - found, found]

        return p

    said = {"attention": weights.reshape(4, 6)}
    _check(report, [of_row(image) for image in images], [list(range(6))] * 4, said)
    assert report.grid == (3, 2)


def _additive(values):
    """A model whose probability is the sum of the values of the ids."""
    return lambda ids: values[ids].sum(1)


def test_random_weights_remove_each_part_as_often():
    # For a sum, the mean fall without k of n parts in random order is k / n of the whole.
    values = np.array([0, 0.6, *[0.04] * 9])
    ids = np.random.default_rng(0).permuted(np.tile(np.arange(1, 11), (200, 1)), axis=1)
    weights = np.zeros(ids.shape)
    report = ka.explanation_report(_additive(values), ids, weights)
    gone = np.ceil(10 * report.fractions - 1e-9) / 10
    for curve, expected in (("deletion", 1 - gone), ("insertion", gone)):
        np.testing.assert_allclose(report.curves["random"][curve], 0.96 * expected, atol=0.04)
    random = report.figures["random"]
    assert random["aopc"] == pytest.approx(0.48, abs=3 * random["error"])
    assert 0 < random["error"] < 0.02


def test_the_difference_is_that_of_the_means_and_its_error_of_pairs():
    ids = np.arange(1, 201).reshape(20, 10)
    weights = -ids  # equal to the order of no weights at all
    report = ka.explanation_report(judge, ids, weights)
    mean, error = report.difference
    of = report.figures
    assert mean == pytest.approx(of["attention"]["aopc"] - of["random"]["aopc"])
    low = abs(of["attention"]["error"] - of["random"]["error"])
    assert low <= error <= of["attention"]["error"] + of["random"]["error"]


# --- How it runs.


def _numbers(report):
    return json.dumps(report.to_dict(), sort_keys=True)


def test_same_seed_same_report():
    ids = make_texts()
    weights = np.random.default_rng(1).random(ids.shape)
    one, same, other = (ka.explanation_report(judge, ids, weights, seed=seed) for seed in (3, 3, 4))
    assert _numbers(one) == _numbers(same) != _numbers(other)
    assert one.figures["attention"] == other.figures["attention"]


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_no_batch_is_larger_than_asked_for(batch_size):
    ids = make_texts()
    weights = np.random.default_rng(1).random(ids.shape)
    seen = []

    def predict(ids):
        seen.append(len(ids))
        return judge(ids)

    report = ka.explanation_report(predict, ids, weights, batch_size=batch_size)
    assert max(seen) <= batch_size
    expected = ka.explanation_report(judge, ids, weights)
    assert report.figures["attention"] == pytest.approx(expected.figures["attention"])
    assert report.figures["random"] == pytest.approx(expected.figures["random"])


@of_no_backend
def test_two_threads_at_once():
    jobs = [
        (make_texts(9, 13, seed), np.random.default_rng(seed).random((9, 13))) for seed in (0, 1)
    ]
    alone = [_numbers(ka.explanation_report(judge, *job)) for job in jobs]
    start, found = threading.Barrier(2), {}

    def run(number):
        start.wait()
        found[number] = [_numbers(ka.explanation_report(judge, *jobs[number])) for _ in range(3)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        assert found[number] == [alone[number]] * 3


def test_the_whole_input_is_predicted_as_it_is():
    x, mask = np.array([[5, 7, 9]] * 2), np.array([[True, False, True]] * 2)
    seen = []

    def predict(x):
        seen.append(x.tolist())
        return judge(x)

    report = ka.explanation_report(predict, x, np.ones((2, 3)), mask)
    assert seen.count(x.tolist()) == 1
    assert [[5, 9, 0]] * 2 not in seen
    for curves in report.curves.values():
        assert curves["deletion"][0] == pytest.approx(judge(x).max(1).mean())


def test_the_inputs_stay_as_they_are():
    ids, weights = make_texts(), np.random.default_rng(1).random((9, 13))
    before = ids.copy(), weights.copy()
    ka.explanation_report(judge, ids, weights)
    np.testing.assert_array_equal(ids, before[0])
    np.testing.assert_array_equal(weights, before[1])


def test_verbose_shows_a_bar_that_ends(capfd):
    ids, weights = make_texts(), np.random.default_rng(1).random((9, 13))
    ka.explanation_report(judge, ids, weights)
    out, err = capfd.readouterr()
    assert not out
    assert not err
    ka.explanation_report(judge, ids, weights, verbose=True, batch_size=4)
    out, err = capfd.readouterr()
    last = [
        line
        for line in (out + err).replace("\b", "").replace("\r", "\n").split("\n")
        if "/" in line
    ][-1]
    done, total = last.split("/")[0].split()[-1], last.split("/")[1].split()[0]
    assert int(done.split("m")[-1]) == int(total.split("\x1b")[0])


# --- What it refuses.


def _report(inputs=None, weights=None, predict=judge, **kwargs):
    inputs = np.ones((2, 5), int) if inputs is None else inputs
    weights = np.ones((2, 5)) if weights is None else weights
    return ka.explanation_report(predict, inputs, weights, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"weights": np.ones((2, 4))}, r"weights.shape=\(2, 4\), inputs.shape=\(2, 5\)"),
        ({"weights": np.ones((3, 5))}, r"weights.shape=\(3, 5\), inputs.shape=\(2, 5\)"),
        ({"weights": np.ones(5)}, r"weights.shape=\(5,\), inputs.shape=\(2, 5\)"),
        ({"weights": "pool"}, r"`weights` must be an array .* Received: weights='pool'"),
        ({"weights": [[np.nan] * 5] * 2}, r"`weights` must be finite .* Received: NaN"),
        ({"weights": [[1, 1, np.inf, 1, 1]] * 2}, r"`weights` must be finite .* Received: NaN"),
        ({"mask": np.ones((2, 4), bool)}, r"`mask` must have .*mask.shape=\(2, 4\)"),
        ({"mask": np.full((2, 5), 0.5)}, r"`mask` must be boolean.*mask.dtype=float64"),
        ({"padding": 0.5}, r"`padding` must be .*padding=0.5, inputs.dtype=int64"),
        ({"groups": np.zeros((2, 4), int)}, r"`groups` must be integers .*\(2, 4\)"),
        ({"groups": np.zeros((2, 5))}, r"`groups` must be integers .*float64"),
        ({"groups": np.full((2, 5), 5)}, r"`groups` must be from -1.* from 5 to 5 for 5 steps"),
        ({"groups": np.full((2, 5), -2)}, r"`groups` must be from -1.* from -2 to -2 for 5 steps"),
        ({"rivals": {"mine": np.ones((2, 4))}}, r"`rivals` must have .*'mine' with shape \(2, 4\)"),
        ({"rivals": {"mine": np.ones((2, 6))}}, r"`rivals` must have .*'mine' with shape \(2, 6\)"),
        ({"rivals": {"mine": np.ones((3, 5))}}, r"`rivals` must have .*'mine' with shape \(3, 5\)"),
        ({"rivals": {"random": np.ones((2, 5))}}, r"`rivals` must have other names.*\['random'\]"),
        ({"rivals": {"attention": np.ones((2, 5))}}, r"`rivals` must .* \['attention'\]"),
        ({"rivals": {"mine": np.full((2, 5), np.nan)}}, r"'mine'.* must be finite .*NaN"),
        (
            {"inputs": np.ones((0, 5)), "weights": np.ones((0, 5))},
            r"`inputs` must have at least one",
        ),
        ({"inputs": np.array([["a"] * 5] * 2)}, r"`inputs` must be one array of numbers"),
        ({"predict": lambda x: np.ones((len(x), 2, 2))}, r"`predict` must return .*\(2, 2, 2\)"),
        (
            {"predict": lambda x: np.full(len(x), 3.0)},
            r"`predict` must return probabilities, from 0",
        ),
        ({"predict": lambda x: np.full(len(x), np.nan)}, r"`predict` must return probabilities"),
        ({"predict": lambda _: np.ones((1, 2))}, r"`predict` must return .*shape \(1, 2\)"),
        ({"batch_size": 0}, r"`batch_size` must be a positive integer. Received: batch_size=0"),
    ],
)
def test_rejects(kwargs, message):
    with pytest.raises(ValueError, match=message):
        _report(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"groups": np.zeros((2, 5), int)}, r"`remove` and `groups` must not both be given"),
        (
            {"weights": np.ones((2, 5, 1, 1))},
            r"`weights` must have .*parts\).*weights.shape=\(2, 5, 1, 1\)",
        ),
        ({"mask": np.ones((2, 4), bool)}, r"`mask` must have .*mask.shape=\(2, 4\)"),
        ({"mask": np.full((2, 5), 0.5)}, r"`mask` must be boolean.*mask.dtype=float64"),
        ({"weights": np.ones((3, 5))}, r"`inputs` must have as many .*weights.shape=\(3, 5\)"),
        ({"rivals": {"mine": np.ones((1, 5))}}, r"`rivals` must have .*'mine' with shape \(1, 5\)"),
        ({"inputs": ["a"] * 3}, r"`inputs` must have as many .*weights.shape=\(2, 5\)"),
        ({"inputs": {"a": np.ones((2, 1)), "b": np.ones((3, 1))}}, r"`inputs` must have as many"),
        ({"rivals": {"mine": np.ones((2, 4))}}, r"`rivals` must have .*'mine' with shape \(2, 4\)"),
    ],
)
def test_rejects_with_a_function_that_removes(kwargs, message):
    with pytest.raises(ValueError, match=message):
        _report(**{"remove": lambda x, _: x, "predict": lambda x: np.ones(len(x)), **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"weights": np.ones((2, 3))}, r"`weights` of images must have .*weights.shape=\(2, 3\)"),
        (
            {"weights": np.ones((3, 2, 2))},
            r"weights.shape=\(3, 2, 2\), inputs.shape=\(2, 4, 4, 1\)",
        ),
        ({"weights": np.ones((2, 5, 2))}, r"at most as many rows .*weights.shape=\(2, 5, 2\)"),
        ({"weights": np.ones((2, 0, 2))}, r"at least one .*weights.shape=\(2, 0, 2\)"),
        ({"rivals": {"mine": np.ones((2, 3, 3))}}, r"'mine' with shape \(2, 3, 3\)"),
        ({"mask": np.ones((2, 2, 2), bool)}, r"without `mask` and `groups`"),
        ({"groups": np.ones((2, 2, 2), int)}, r"without `mask` and `groups`"),
        ({"rivals": {"mine": np.ones((2, 2))}}, r"`rivals` must have .*'mine' with shape \(2, 2\)"),
    ],
)
def test_rejects_of_images(kwargs, message):
    images, weights = np.ones((2, 4, 4, 1)), np.ones((2, 2, 2))
    with pytest.raises(ValueError, match=message):
        _report(
            **{"inputs": images, "weights": weights, "predict": lambda x: x[:, 0, 0, 0], **kwargs}
        )


def test_weights_of_padding_may_be_anything():
    ids = make_texts()
    weights = np.where(ids > 0, 1.0, np.nan)
    assert np.isfinite(_report(ids, weights).figures["attention"]["aopc"])


def test_a_grid_with_a_function_that_removes_is_one_of_images():
    rng = np.random.default_rng(0)
    images, weights = rng.random((12, 4, 6, 1)), rng.random((12, 2, 3))

    def predict(images):
        return np.clip(images[:, 0, 0, 0], 0, 1)

    def remove(inputs, keep):
        assert keep.shape[1:] == (2, 3)
        large = keep.repeat(2, axis=1).repeat(2, axis=2)[..., None]
        return {
            "image": np.where(
                large, inputs["image"], inputs["image"].mean((1, 2, 3), keepdims=True)
            )
        }

    expected = ka.explanation_report(predict, images, weights)
    got = ka.explanation_report(
        lambda inputs: predict(inputs["image"]), {"image": images}, weights, remove=remove
    )
    assert got.figures == expected.figures and got.grid == (2, 3)
