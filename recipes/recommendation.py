"""Recommendation: what a user takes next, from what the user took before.

Trains a model of the order in which users take items (films, books, goods) and exports it as a
SavedModel and as TFLite files. A history goes in; the ten best items that are not in it come out,
with a score each and with the past items that counted.

Model. `--attention self` is SASRec: embeddings of the past items and of their positions go through
transformer blocks in which a step sees no later step, and the last step's output scores each item
by its dot product with the item's embedding. The loss is the cross-entropy over all items, or with
`--loss binary` the published one: each step's next item against one that the user never took.
`--attention target` is DIN: the candidate itself is the query over the history, so each candidate
looks at other past items; trained by the binary loss.

Protocol. Interactions are split by time for each user: the last item is the test, the last but one
validation, all before are training. The test history holds the validation item. The target is
ranked among all items that the user has not taken (`hr@10`, `ndcg@10`, `mrr`), and among 100 such
items drawn evenly (`hr@10 of 100` and so on; for comparison with papers that do so). An item with
an equal score counts as ranked before the target. Training stops by NDCG@10 of validation over all
items. Popularity and a first-order Markov chain are measured by the same code.

Data: "toy" (generated, offline), a folder with interactions.csv and perhaps items.csv (also tsv,
jsonl, gzip; columns user, item, time and item, title), or "tfds:movielens/1m-ratings",
"tfds:movielens/100k-ratings" and the like.

    python -m recipes.recommendation train --data toy
    python -m recipes.recommendation predict saved_models/recommendation "The Salt Compass 2"

Reference: Kang & McAuley, 2018 (SASRec), https://arxiv.org/abs/1808.09781; Zhou et al., 2018
(DIN), https://arxiv.org/abs/1706.06978. Figures on real data, with time and machine, stand in the
README.
"""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np

from recipes.data import interactions
from recipes.kit import errors, exports, fitting, flags, records, run_folder
from recipes.kit.errors import UserError
from recipes.kit.flags import argument, option

NAME = "recommendation"
FORMS = {
    "tflite": "model.tflite",
    "tflite_float16": "model_float16.tflite",
    "tflite_int8": "model_int8.tflite",
    "saved_model": "saved_model",
}
METRIC = "val_ndcg@10"


@dataclasses.dataclass(frozen=True)
class Config:
    """What `train` can be told."""

    data: str = option("toy", "toy, tfds:NAME or a folder with interactions.*")
    output: Path = option(Path("saved_models") / NAME, "folder to write")
    attention: str = option("self", "self: SASRec; target: DIN", choices=("self", "target"))
    loss: str | None = option(
        None, "softmax: over all items; binary: against sampled items; none: softmax, or binary "
        "with target attention", choices=("softmax", "binary"),
    )  # fmt: skip
    negatives: int = option(1, "items sampled for each step by the binary loss", low=1, high=100)
    epochs: int = option(40, "passes over the training interactions, at most", low=1)
    patience: int = option(5, "epochs without a better validation NDCG before it stops", low=1)
    batch_size: int = option(1600, "items to predict in a training step, about", low=1)
    learning_rate: float = option(0.003, "step size of Adam", low=1e-6, high=1.0)
    averaging: float = option(
        0.995, "how much of the moving average of the weights a step keeps", low=0.0, high=0.9999
    )
    max_history: int | None = option(
        None, "past items that the model sees, the last ones; none: 200, or the longest history",
        low=2,
    )  # fmt: skip
    size: int = option(64, "size of an item's vector", low=2)
    blocks: int = option(2, "transformer blocks of self-attention", low=1)
    heads: int = option(2, "heads of a block; they divide the size", low=1)
    dropout: float = option(0.2, "fraction dropped in training", low=0.0, high=0.95)
    parity_users: int = option(500, "test users on whom the exports are compared", low=1)
    seed: int = option(0, "seed of everything random", low=0)
    mixed_precision: bool = option(False, "compute in 16 bits where that is safe")
    limit: int | None = option(None, "users to take, for a quick look", low=1)
    user_column: str = option("user", "column of the user")
    item_column: str = option("item", "column of the item")
    time_column: str = option("time", "column of the time, numbers or dates")
    title_column: str = option("title", "column of the title in items.*")
    data_dir: Path | None = option(None, "where TensorFlow Datasets keeps its data")
    tensorboard: Path | None = option(None, "folder for TensorBoard's logs")


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    items: tuple[str, ...] = argument(
        "past items, the oldest first, names or titles; none: the lines of standard input",
        nargs="*",
    )
    file: Path | None = option(None, "file with a past item a line, the oldest first")
    top: int = option(10, "items to recommend", low=1, high=10)
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


# ------------------------------------------------------------------------------------- train


def load_data(config):
    """The interactions of `--data`."""
    return interactions.load(
        config.data,
        seed=config.seed,
        limit=config.limit,
        user_column=config.user_column,
        item_column=config.item_column,
        time_column=config.time_column,
        title_column=config.title_column,
        data_dir=config.data_dir,
    )


def build_model(config, num_items):
    """The recommender three times: to train, to rank all items, and to use; all share all weights.

    Histories are items from 1, padded at the left with 0: `(B, T)`.

    Args:
        config: A `Config`.
        num_items: Integer V.

    Returns:
        The model to train: `history` and `target` `(B, T)` and, for the binary loss, `negatives`
        `(B, T, N)`, to the log-likelihood of each target `(B, T)`. The model to rank: a history to
        a logit of each item `(B, V)`. The model to use: a history to a dict of the best `items`
        `(B, 10)` that are not in it, their `scores` (probabilities), and the `weights` of the past
        items, `(B, T)`, or with target attention `(B, 10, T)`, which sum to one.
    """
    build = _self_attention if config.attention == "self" else _target_attention
    return build(config, num_items)


def _self_attention(config, num_items):
    """SASRec."""
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import next_item

    embed = layers.ReversibleEmbedding(
        num_items + 1, config.size, embeddings_initializer=_normal(0.02),
        reverse_dtype="float32", name="items",
    )  # fmt: skip
    embed.supports_masking = True  # a step's mask says nothing about the items it is scored with
    positions = ka.PositionEmbedding(config.max_history, _normal(0.02), name="positions")
    drop = layers.Dropout(config.dropout, seed=config.seed, name="dropout")
    blocks = [
        ka.TransformerEncoderBlock(
            2 * config.size,
            # Weights without dropout: it costs a third of the time and gains nothing here.
            attention=ka.MultiHeadAttention(config.heads, config.size // config.heads),
            activation="gelu",
            dropout=config.dropout,
            norm_first=True,
            seed=config.seed + number + 1,
            name=f"block_{number}",
        )
        for number in range(config.blocks)
    ]
    norm = layers.LayerNormalization(name="norm")

    def encode(history):
        """Each step's view of what comes next `(B, T, D)`, and the weights of each block."""
        history = history[:, -config.max_history :]
        known = ops.not_equal(history, 0)
        x = embed(history) * config.size**0.5  # so that the blocks do not drown it at first
        x = drop(positions(x, start_index=_first_position(history)))
        maps = []
        for block in blocks:
            x, weights = block(
                x, mask=known, use_causal_mask=True, return_attention_scores=True
            )  # (B, T, D), (B, H, T, T)
            maps.append(weights)
        return norm(x), maps

    history = keras.Input((None,), dtype="int32", name="history")
    target = keras.Input((None,), dtype="int32", name="target")
    inputs = {"history": history, "target": target}
    x = ops.cast(encode(history)[0], "float32")
    if config.loss == "binary":
        inputs["negatives"] = keras.Input((None, config.negatives), dtype="int32", name="negatives")
        others = ops.cast(embed(inputs["negatives"]), "float32")  # (B, T, N, D)
        likelihood = _log_odds(
            _dot(x, embed(target)), ops.sum(ops.expand_dims(x, 2) * others, axis=-1)
        )
    else:
        # Padding is one more wrong answer: cheaper than to cut it out of so large a tensor.
        logits = embed(x, reverse=True)  # (B, T, V + 1)
        likelihood = _dot(x, embed(target)) - ops.logsumexp(logits, axis=-1)
    training = keras.Model(inputs, likelihood)

    x, maps = encode(history)
    logits = embed(x[:, -1], reverse=True)[:, 1:]  # (B, V)
    items, best = next_item.TopUnseen(min(10, num_items), name="top")(logits, history)
    use = keras.Model(
        history,
        {
            "items": items,
            "scores": _probability(config, best, logits),
            "weights": _last_step(maps),
        },
        name=NAME,
    )
    return training, keras.Model(history, logits), use


def _normal(stddev):
    import keras

    return keras.initializers.RandomNormal(stddev=stddev)


def _first_position(history):
    """Where the first step stands so that the first item, after the padding, is at position 0."""
    from keras import ops

    return -ops.sum(ops.cast(ops.equal(history, 0), "int32"), axis=1)  # (B,)


def _dot(x, y):
    from keras import ops

    return ops.sum(ops.cast(x, "float32") * ops.cast(y, "float32"), axis=-1)


def _log_odds(logit, other_logits):
    """Log-likelihood that the target was taken and the others were not."""
    from keras import ops

    return ops.log_sigmoid(logit) + ops.sum(ops.log_sigmoid(-other_logits), axis=-1)


def _last_step(maps):
    """How much the last step looked at each past item `(B, T)`: the mean of heads and blocks."""
    from keras import ops

    of_block = [ops.mean(ops.cast(weights, "float32")[:, :, -1], axis=1) for weights in maps]
    return sum(of_block) / len(of_block)


def _target_attention(config, num_items):
    """DIN, with attention that has heads, positions and a softmax."""
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import next_item

    embed = layers.Embedding(
        num_items + 1, config.size, embeddings_initializer=_normal(config.size**-0.5), name="items"
    )
    popularity = layers.Embedding(num_items + 1, 1, "zeros", name="popularity")
    positions = ka.PositionEmbedding(
        config.max_history + 1, embeddings_initializer=_normal(config.size**-0.5), name="positions"
    )
    attention = ka.ContentAttention(score="bilinear", name="attention")
    drop = layers.Dropout(config.dropout, seed=config.seed, name="dropout")
    hidden = layers.Dense(2 * config.size, activation="relu", name="hidden")
    to_logit = layers.Dense(1, name="logit")

    def read(history):
        """Past items with positions `(B, T, D)`, positions to take the next `(B, T, D)`, mask."""
        history = history[:, -config.max_history :]
        first = _first_position(history)
        x = embed(history)
        steps = positions(x, start_index=first)
        return drop(steps), positions(ops.zeros_like(x), start_index=first + 1), history > 0

    def logit(candidate, place, steps, known, **kwargs):
        """Logits of candidates `(B, C)`, and which past items they looked at `(B, C, T)`."""
        vector = embed(candidate)  # (B, C, D)
        context, weights = attention(
            vector + place, steps, value_mask=known, return_attention_scores=True, **kwargs
        )
        x = ops.concatenate([vector, context, vector * context], axis=-1)
        x = to_logit(drop(hidden(x))) + popularity(candidate)
        return ops.cast(ops.squeeze(x, -1), "float32"), weights

    history = keras.Input((None,), dtype="int32", name="history")
    target = keras.Input((None,), dtype="int32", name="target")
    negatives = keras.Input((None, config.negatives), dtype="int32", name="negatives")
    steps, places, known = read(history)

    def of_each_step(candidate):  # each step sees what came before
        return logit(candidate, places, steps, known, use_causal_mask=True)[0]

    others = [of_each_step(negatives[:, :, number]) for number in range(config.negatives)]
    likelihood = _log_odds(of_each_step(target), ops.stack(others, axis=-1))
    training = keras.Model(
        {"history": history, "target": target, "negatives": negatives}, likelihood
    )

    candidates = next_item.AllItems(num_items, name="candidates")(history)  # (B, V)
    logits, _ = logit(candidates, places[:, -1:], steps, known)
    items, best = next_item.TopUnseen(min(10, num_items), name="top")(logits, history)
    _, weights = logit(items, places[:, -1:], steps, known)
    use = keras.Model(
        history,
        {
            "items": items,
            "scores": _probability(config, best, logits),
            "weights": ops.cast(weights, "float32"),
        },
        name=NAME,
    )
    return training, keras.Model(history, logits), use


def _probability(config, best, logits):
    """Of the best items: among all items, or with the binary loss each for itself."""
    from keras import ops

    if config.loss == "binary":
        return ops.sigmoid(best)
    return ops.exp(best - ops.logsumexp(logits, axis=-1, keepdims=True))


def compile_model(config, model):
    """Loss and optimizer."""
    import keras
    from keras import ops

    def surprise(weights, likelihood):
        """Minus the mean log-likelihood of the targets."""
        return -ops.sum(weights * likelihood) / ops.maximum(ops.sum(weights), 1.0)

    model.compile(
        keras.optimizers.Adam(config.learning_rate, use_ema=True, ema_momentum=config.averaging),
        surprise,
    )


def recommender(ranking_model, config):
    """The model as `recipes.baselines.ranking` wants it: from a list of histories to scores."""
    import tensorflow as tf

    from recipes.data.windows import padded

    # One function for all lengths; validation goes through it after each epoch.
    function = tf.function(
        lambda history: ranking_model(history, training=False),
        input_signature=[tf.TensorSpec((None, None), tf.int32)],
    )
    return lambda histories: function(
        padded([history[-config.max_history :] for history in histories])
    ).numpy()


def fit(config, model, data, score, run):
    """Trains on all but the last two items of each user, watched on the last but one."""
    import keras

    from recipes.baselines import ranking
    from recipes.data.windows import Windows

    def validate(epoch, logs):
        figures = ranking.measure(score, *data.validation, len(data.items), negatives=0)
        logs[METRIC] = figures["ndcg@10"]

    model.fit(
        Windows(
            data.training,
            len(data.items),
            config.max_history,
            config.batch_size,
            negatives=config.negatives if config.loss == "binary" else 0,
            seed=config.seed,
            epoch=run.epochs_done,
        ),
        epochs=config.epochs,
        callbacks=[
            *fitting.seeing_average(keras.callbacks.LambdaCallback(on_epoch_end=validate)),
            *fitting.training_callbacks(
                run,
                monitor=METRIC,
                mode="max",
                patience=config.patience,
                use_average=True,
                tensorboard=config.tensorboard,
            ),
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )


def train(config):
    """Train a recommender, measure it beside its baselines, and export it."""
    config = _checked(config)
    with run_folder.RunFolder(config.output, recipe=NAME) as run:
        data = load_data(config)
        print(data)
        run.start(config, data=data.fingerprint)
        if config.max_history is None:
            longest = max(map(len, data.histories))
            config = dataclasses.replace(config, max_history=min(200, longest))
        _train(config, data, run)


def _checked(config):
    """The config with its loss, or an error for what does not go together."""
    loss = config.loss or ("binary" if config.attention == "target" else "softmax")
    if config.attention == "target" and loss == "softmax":
        raise UserError(
            "--attention target needs --loss binary, as each item is a query of its own. "
            "Received: softmax"
        )
    if config.size % config.heads:
        raise UserError(
            f"--heads must divide --size. Received: --heads {config.heads} --size {config.size}"
        )
    return dataclasses.replace(config, loss=loss)


def _train(config, data, run):
    from recipes.baselines import ranking

    fitting.set_up_keras(config.seed, mixed_precision=config.mixed_precision)
    num_items = len(data.items)
    training, ranking_model, model = build_model(config, num_items)
    compile_model(config, training)
    score = recommender(ranking_model, config)
    if not run.is_trained:
        fit(config, training, data, score, run)
    fitting.load_best_weights(training, run)
    minutes = run.minutes

    def measure(recommender):
        return ranking.measure(recommender, *data.test, num_items, seed=config.seed)

    scores = measure(score)
    baselines = {
        "first-order Markov": measure(ranking.markov(data.training, num_items)),
        "popularity": measure(ranking.popularity(data.training, num_items)),
    }
    for name, figures in {"this model": scores, **baselines}.items():
        shown = "  ".join(f"{figure} {value:.4f}" for figure, value in figures.items())
        print(f"{name}: {shown}")

    model.save(run.path / "model.keras")
    forms = _export(config, model, data, run.path)
    records.plot_history(run.history, run.path / "history.png", metric="ndcg@10")
    metrics = records.write_metrics(
        run.path,
        recipe=NAME,
        data=data.name,
        seed=config.seed,
        scores=scores,
        baselines={name: figures["hr@10"] for name, figures in baselines.items()},
        minutes=minutes,
        epochs=run.epochs_done,
        parameters=model.count_params(),
        exports=forms,
        details={"baseline_scores": baselines},
    )
    records.write_model_card(
        run.path, title="Recommendation", sections=_card(config, data), metrics=metrics
    )
    run.finish()


# ------------------------------------------------------------------------------------ export


def _export(config, model, data, folder):
    """Writes all forms; returns for each its size, time and agreement with the Keras model."""

    import keras_attention as ka

    def recommend(model, history):
        return model(history, training=False)

    def same_items(outputs):
        """The best items of each row as one value, whatever their order."""
        return np.array([" ".join(map(str, sorted(row))) for row in outputs["items"]])

    histories, _ = data.test
    # One user at a time, as a phone does: no padding.
    rows = exports.one_by_one([x[-config.max_history :] for x in histories[: config.parity_users]])
    lines = [
        f"{' '.join(item.split())}\t{title}"
        for item, title in zip(data.items, data.titles, strict=True)
    ]
    # Two items with nearly the same score may change places: what counts is which ten they are.
    return exports.export(
        model,
        folder,
        formats=FORMS,
        signatures=[
            ka.Signature(
                "recommend", recommend, {"history": ((None, None), "int32")}, rows,
                decision=same_items,
            )
        ],
        bounds={
            "saved_model": {"difference": None, "agreement": 0.98},
            "tflite": {"difference": None, "agreement": 0.98},
            "tflite_float16": {"difference": None, "agreement": 0.9},
            "tflite_int8": {"difference": None, "agreement": None},
        },
        files={"items.txt": lines},
    )  # fmt: skip


def _card(config, data):
    """The words of the model card."""
    which = (
        "`weights` `(B, 10, T)`: for each of the items"
        if config.attention == "target"
        else ("`weights` `(B, T)`: for all ten together")
    )
    return {
        "What it does": (
            "Takes the items that a user took, in order, and returns the ten best of those not "
            f"among them, a score for each, and how much each past item counted ({which}; they "
            f"sum to one). It sees the last {config.max_history} items."
        ),
        "Data and licence": "\n\n".join(
            [data.description, data.licence, *(f"Note: {note}." for note in data.notes)]
        ),
        "How it was measured": (
            "Each user's last item is the target, ranked among all items that the user has not "
            "taken (`hr@10`, `ndcg@10`, `mrr`), and among 100 of them drawn evenly (`of 100`). HR "
            "is the share of targets in the first ten places. The last item but one was for "
            "validation; the model did not learn from it, but sees it in the test history."
        ),
        "Limits": (
            "It knows the items it was trained with, and no new ones; of a user it knows the "
            "history alone. It repeats what users did: what was popular or shown to them it "
            "recommends again. The weights tell where the model looked, not why the user would "
            "want the item. With few past items it knows little more than what is popular."
        ),
        "How to use": (
            f"    python -m recipes.{NAME} predict FOLDER ITEM ITEM ...\n\n"
            "All forms have one signature, `recommend`: `history` int32 `(B, T)`, the oldest item "
            "first, padded at the left with 0, to `items` `(B, 10)`, `scores` and `weights`. Item "
            "n stands in line n of `items.txt`, with its title; the file is also attached to each "
            "TFLite file, which is a zip archive too."
        ),
    }


# ----------------------------------------------------------------------------------- predict


def predict(config):
    """Recommend items to somebody who took these, with the past items that counted."""
    run_folder.find_run(config.folder, recipe=NAME, files=[FORMS[config.form], "items.txt"])
    recommend, items, titles = _loaded(config)
    names = [title or item for item, title in zip(items, titles, strict=True)]
    given = flags.given_or_read(config.items, config.file, "past items")
    history = [_find(name.strip(), items, titles) for name in given]
    outputs = recommend(np.array([history], "int32"))
    weights = outputs["weights"][0]
    if weights.ndim == 1:
        print(f"Past items that counted: {_counted(history, weights, names)}")
    for place, item in enumerate(outputs["items"][0, : config.top]):
        if item in history:  # nothing else is left
            break
        line = f"{place + 1:2}. {names[item - 1]}  {outputs['scores'][0, place]:.4f}"
        if weights.ndim == 2:
            line += f"  because of {_counted(history, weights[place], names)}"
        print(line, flush=True)


def _find(name, items, titles):
    """The number of the item with this name or title, or with the only title that holds it.

    A title need not have the year that stands in brackets at its end.
    """
    if name in items:
        return items.index(name) + 1
    wanted = name.casefold()
    known = [title.casefold() for title in titles]
    for is_it in (
        lambda title: title == wanted,
        lambda title: re.sub(r"\s*\(\d{4}\)$", "", title) == wanted,
        lambda title: wanted in title,
    ):
        if found := [number for number, title in enumerate(known, start=1) if is_it(title)]:
            break
    if not found:
        raise UserError(f"Expected an item that the model knows. Received: {name!r}")
    if len(found) > 1:
        shown = ", ".join(titles[n - 1] for n in found[:4]) + (", ..." if len(found) > 4 else "")
        raise UserError(f"Expected one item. {name!r} may be: {shown}")
    return found[0]


def _counted(history, weights, names, most=3):
    """The past items with the largest weights; those of a long history are the last."""
    seen = history[-len(weights) :]
    best = np.argsort(-weights, kind="stable")[:most]
    return ", ".join(f"{names[seen[place] - 1]} ({weights[place]:.0%})" for place in best)


def _loaded(config):
    """A function from a history to the outputs, and the items' names and titles."""
    path = config.folder / FORMS[config.form]
    try:
        lines = (config.folder / "items.txt").read_text(encoding="utf-8").split("\n")[:-1]
        rows = [line.split("\t") for line in lines]
        items, titles = map(list, zip(*rows, strict=True))
    except (OSError, ValueError) as error:
        raise errors.cannot_load(path, error) from error
    run = exports.runner(path, "recommend")
    return lambda history: run(history=history), items, titles


if __name__ == "__main__":
    sys.exit(flags.command_line(__doc__, train=(Config, train), predict=(PredictConfig, predict)))
