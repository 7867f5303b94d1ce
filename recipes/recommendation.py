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

Protocol. Each user's last item is the test, the last but one validation, all before are training.
The target is ranked among all items that the user has not taken (`hr@10`, `ndcg@10`, `mrr`), and
among 100 such items drawn evenly (`of 100`), by `recipes/baselines/ranking.py`.

Data: "toy" (generated, offline), a folder with interactions.csv and perhaps items.csv (also tsv,
jsonl, gzip; columns user, item, time and item, title), or "tfds:movielens/1m-ratings",
"tfds:movielens/100k-ratings" and the like.

    python -m recipes.recommendation train --data toy
    python -m recipes.recommendation predict saved_models/recommendation "The Salt Compass 2"
    python -m recipes.recommendation explain saved_models/recommendation

Score: HR@10 0.3086 and NDCG@10 0.1749 over all films of MovieLens-1M after 24.3 minutes on two
cores of a server's CPU; a first-order Markov chain has 0.1917 and 0.1121.

Reference: Kang & McAuley, 2018, https://arxiv.org/abs/1808.09781 (SASRec); Zhou et al., 2018,
https://arxiv.org/abs/1706.06978 (DIN).
"""

import dataclasses
import sys
from pathlib import Path

from recipes.baselines import ranking
from recipes.data import interactions
from recipes.kit import explaining, exports, fitting, flags, records, run_folder
from recipes.kit.errors import UserError
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, argument, default, option
from recipes.kit.running import Run
from recipes.maps import histories as history_maps
from recipes.parts import recommended
from recipes.parts.catalogue import Catalogue

NAME = "recommendation"


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    data: str = option("toy", "toy, tfds:NAME or a folder with interactions.*")
    output: Path = default(Path("saved_models") / NAME)
    limit: int | None = option(None, "users to take, for a quick look", low=1)
    user_column: str = option("user", "column of the user")
    item_column: str = option("item", "column of the item")
    time_column: str = option("time", "column of the time, numbers or dates")
    title_column: str = option("title", "column of the title in items.*")
    max_history: int | None = option(
        None, "last items that the model sees; none: the longest history, up to 200", low=2
    )
    # Network.
    attention: str = option("self", "self: SASRec; target: DIN", choices=("self", "target"))
    size: int = option(64, "size of an item's vector", low=2)
    blocks: int = option(2, "transformer blocks of self-attention", low=1)
    heads: int = option(2, "heads of a block; they divide the size", low=1)
    dropout: float = option(0.2, "dropout rate", low=0.0, high=0.95)
    # Training.
    loss: str | None = option(
        None, "softmax: over all items; binary: against sampled items; none: softmax, or binary "
        "with target attention", choices=("softmax", "binary"),
    )  # fmt: skip
    negatives: int = option(1, "items sampled per step by the binary loss", low=1, high=100)
    epochs: int = default(40)
    patience: int = default(5)
    batch_size: int = option(1600, "items to predict per training step, about", low=1)
    learning_rate: float = default(0.003)
    averaging: float = default(0.995)
    # What is written.
    parity_users: int = option(500, "test users on whom the exports are compared", low=1)
    explained: int = option(100, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    items: tuple[str, ...] = argument(
        "past items, the oldest first; none: the lines of standard input", nargs="*"
    )
    file: Path | None = option(None, "file with a past item per line, the oldest first")
    users: Path | None = option(None, "csv, tsv or jsonl of many users: what each took, and when")
    user_column: str = option("user", "column of the user in --users")
    item_column: str = option("item", "column of the item in --users")
    time_column: str = option("time", "column of the time in --users")
    format: str = option("text", "how answers are written", choices=recommended.FORMATS)
    top: int = option(10, "items to recommend", low=1, high=10)
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


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
    from recipes.parts import target_attention

    build = self_attention if config.attention == "self" else target_attention.build
    return build(config, num_items, NAME)


def build_for(config, data):
    """The config with its `max_history`, and what `build_model` returns for a data set."""
    longest = min(200, max(map(len, data.histories)))
    config = dataclasses.replace(config, max_history=config.max_history or longest)
    return config, *build_model(config, len(data.items))


def self_attention(config, num_items, name):
    """SASRec: `build_model` for `--attention self`."""
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import next_item

    embed = layers.ReversibleEmbedding(
        num_items + 1, config.size, embeddings_initializer=next_item.normal(0.02),
        reverse_dtype="float32", name="items",
    )  # fmt: skip
    embed.supports_masking = True  # a step's mask says nothing about the items it is scored with
    positions = ka.PositionEmbedding(config.max_history, next_item.normal(0.02), name="positions")
    drop = layers.Dropout(config.dropout, seed=config.seed, name="dropout")
    blocks = [
        ka.TransformerEncoderBlock(
            2 * config.size, activation="gelu", dropout=config.dropout, norm_first=True,
            # Weights without dropout: it costs a third of the time and gains nothing here.
            attention=ka.MultiHeadAttention(config.heads, config.size // config.heads),
            seed=config.seed + number + 1, name=f"block_{number}",
        )
        for number in range(config.blocks)
    ]  # fmt: skip
    norm = layers.LayerNormalization(name="norm")

    def encode(history):
        """Each step's view of what comes next `(B, T, D)`, and the weights of each block."""
        history = history[:, -config.max_history :]
        known = ops.not_equal(history, 0)
        x = embed(history) * config.size**0.5  # so that the blocks do not drown it at first
        x = drop(positions(x, start_index=next_item.first_position(history)))
        maps = []
        for block in blocks:
            x, weights = block(x, mask=known, use_causal_mask=True, return_attention_scores=True)
            maps.append(weights)  # x (B, T, D), weights (B, H, T, T)
        return norm(x), maps

    history = keras.Input((None,), dtype="int32", name="history")
    target = keras.Input((None,), dtype="int32", name="target")
    inputs = {"history": history, "target": target}
    x = ops.cast(encode(history)[0], "float32")
    if config.loss == "binary":
        inputs["negatives"] = keras.Input((None, config.negatives), dtype="int32", name="negatives")
        others = ops.cast(embed(inputs["negatives"]), "float32")  # (B, T, N, D)
        other_logits = ops.sum(ops.expand_dims(x, 2) * others, axis=-1)
        likelihood = next_item.log_odds(next_item.dot(x, embed(target)), other_logits)
    else:
        # Padding is one more wrong answer: cheaper than to cut it out of so large a tensor.
        logits = embed(x, reverse=True)  # (B, T, V + 1)
        likelihood = next_item.dot(x, embed(target)) - ops.logsumexp(logits, axis=-1)
    training = keras.Model(inputs, likelihood)

    x, maps = encode(history)
    logits = embed(x[:, -1], reverse=True)[:, 1:]  # (B, V)
    items, scores = next_item.best_unseen(logits, history, loss=config.loss)
    outputs = {"items": items, "scores": scores, "weights": next_item.last_step(maps)}
    return training, keras.Model(history, logits), keras.Model(history, outputs, name=name)


def compile_model(config, model, windows):
    """Loss and optimizer."""
    import keras
    from keras import ops

    def negative_log_likelihood(weights, likelihood):
        """Minus the mean log-likelihood of the targets."""
        return -ops.sum(weights * likelihood) / ops.maximum(ops.sum(weights), 1.0)

    momentum = fitting.momentum(config.averaging, windows)
    adam = keras.optimizers.Adam(config.learning_rate, use_ema=True, ema_momentum=momentum)
    model.compile(adam, negative_log_likelihood)


def checked(config):
    """The config with its loss, or an error for what does not go together."""
    heads, size, is_target = config.heads, config.size, config.attention == "target"
    loss = config.loss or ("binary" if is_target else "softmax")
    if is_target and loss == "softmax":
        raise UserError("--attention target needs --loss binary: each item is a query of its own")
    if size % heads:
        raise UserError(f"--heads must divide --size. Received: --heads {heads} --size {size}")
    return dataclasses.replace(config, loss=loss)


def train(config):
    """Train a recommender, measure it beside its baselines, and export it."""
    config = checked(config)
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(interactions.InteractionReader, config).load(config.data)
    import keras

    from recipes.data.batches import Windows
    from recipes.parts import next_item

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        config, training, ranking_model, model = build_for(config, data)
        num_items = len(data.items)
        score = next_item.scorer(ranking_model, config.max_history)

        def validate(epoch, logs):
            figures = ranking.measure(score, *data.validation, num_items, negatives=0)
            logs["val_ndcg@10"] = figures["ndcg@10"]

        windows = Windows(
            data.training, num_items, config.max_history, config.batch_size,
            negatives=config.negatives if config.loss == "binary" else 0,
            seed=config.seed, epoch=run.epochs_done,
        )  # fmt: skip
        compile_model(config, training, windows)
        watch = fitting.with_averaged_weights(keras.callbacks.LambdaCallback(on_epoch_end=validate))
        run.fit(training, windows, monitor="val_ndcg@10", mode="max", callbacks=watch)

        def measure(score):
            return ranking.measure(score, *data.test, num_items, seed=config.seed)

        scores = measure(score)
        simple = {
            "item kNN, recent items most": ranking.item_knn,
            "first-order Markov": ranking.markov,
            "popularity": ranking.popularity,
        }
        baselines = {name: measure(f(data.training, num_items)) for name, f in simple.items()}
        records.show_scores(scores, baselines)
        histories = [x[-config.max_history :] for x in data.test[0][: config.parity_users]]
        catalogue = Catalogue(data.items, data.titles)
        forms = next_item.export(model, run.path, histories, catalogue)
        run.publish(
            model, data, title="Recommendation", scores=scores, baselines=baselines,
            exports=forms, card=card(config), plot="ndcg@10",
            maps=history_maps.maps_of(config, ranking_model, model, data, catalogue),
        )  # fmt: skip


def card(config):
    """The words of the model card."""
    return recommended.card(config, NAME)


def predict(config):
    """Recommend items to somebody who took these, with the past items that counted."""
    run_folder.find_run(config.folder, recipe=NAME, files=[FORMS[config.form], "items.txt"])
    catalogue = Catalogue.load(config.folder / "items.txt")
    recommend = exports.runner(config.folder / FORMS[config.form], "recommend")
    recommended.answer(config, catalogue, recommend)


def explain(config):
    """Test whether the weights of a trained model explain what it recommends, and write a page."""
    history_maps.write(
        config, NAME, Config, lambda settings, data: build_for(checked(settings), data)
    )


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
