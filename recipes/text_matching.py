"""Text matching: which of many sentences answers a question.

Trains a model that scores a candidate for a query, and exports it as a SavedModel and as TFLite
files that take raw text or ids. `predict` ranks the lines of a file, and tells for each word of a
line which word of the query it was compared with.

Model. `--architecture compare` is compare-aggregate: each word of the candidate attends to the
query's, is compared with what it finds there, and convolutions aggregate the comparisons.
`decomposable` compares both ways and sums; `abcnn` is ABCNN-3, two convolutions over both texts
that are told where these agree. Beside it stand a vector of the query (attention pooling) times one
of the candidate (convolutions), which learns what kind of answer a question wants, and the words
that both share, weighted by how rare they are (`--no-overlap`: without). `encoder` makes a vector
of each text alone by attention pooling, for search in many. Vectors of words are learned from the
training texts, also of questions without an answer, before training. The loss is the cross-entropy
over a query's candidates, or with `--loss pairwise` over their pairs.

Protocol. Queries without a right candidate are left out of training and of the figures, those
without a wrong one of training. Ties are broken at random, never by the order of the file, by
`recipes/baselines/matching.py`. Sentences of a document often stand in its order, which alone tells
much: the model knows a candidate's position among those of its query with `--position` only.

Data: "toy" (generated, offline), or a folder with train.csv and test.csv (also tsv, jsonl, gzip;
columns question, answer and label, or query, document and label), or a set of TensorFlow Datasets:
"tfds:glue/qnli" with `--document-column sentence --right-label entailment`.

    python -m recipes.text_matching train --data toy
    python -m recipes.text_matching predict saved_models/text_matching "who fixed a boat ?" \\
        --file candidates.txt
    python -m recipes.text_matching explain saved_models/text_matching

Score: MAP 0.6866 and MRR 0.7048 on WikiQA, means of three seeds (logistic regression on shared
words: 0.6485 and 0.6574).

Reference: Wang & Jiang, 2017, https://arxiv.org/abs/1611.01747 (compare-aggregate); Parikh et al.,
2016, https://arxiv.org/abs/1606.01933 (decomposable); Yin et al., 2016,
https://arxiv.org/abs/1512.05193 (ABCNN). None of them has the part that matches the kind of answer.
"""

import dataclasses
import sys
from pathlib import Path

from recipes.baselines import matching
from recipes.data import candidates
from recipes.kit import explaining, fitting, flags, processes, records
from recipes.kit.errors import UserError
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS, TEXT_SIGNATURE
from recipes.kit.flags import TrainConfig, argument, default, option, size_dependent
from recipes.kit.running import Run
from recipes.maps import pairs
from recipes.parts import ranked, searched
from recipes.text import wordpiece

NAME = "text_matching"


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    output: Path = default(Path("saved_models") / NAME)
    limit: int | None = option(None, "queries of each split to use, for a quick look", low=4)
    query_column: str | None = option(
        None, "column of the query (default: question, or else query)"
    )
    document_column: str | None = option(
        None, "column of the candidate (default: answer, or else document)"
    )
    label_column: str | None = option(None, "column of the label (default: label)")
    right_label: str | None = option(
        None, "label of a right candidate (default: labels are numbers, 0 is wrong)"
    )
    validation_fraction: float = option(
        0.1, "share of the training queries to validate on, without a file for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    vocabulary_size: int | None = size_dependent(
        16_000, 4_000, "word pieces to learn, at most", unit="pairs", low=100, high=100_000
    )
    max_steps: int = option(80, "word pieces of a text that are read; the rest is cut", low=4)
    # Network.
    architecture: str = option(
        "compare", "how two texts are compared; encoder: one vector per text, for search",
        choices=("compare", "decomposable", "abcnn", "encoder"),
    )  # fmt: skip
    overlap: bool = option(
        True, "tell the model which words both texts share, and how rare; not the encoder"
    )
    position: bool = option(
        False, "tell the model a candidate's position among those of its query, in the file's order"
    )
    vector_size: int = option(100, "size of a word piece's vector", low=2)
    units: int = option(64, "units of a layer", low=4)
    dropout: float = option(0.3, "dropout rate", low=0.0, high=0.95)
    # Training.
    loss: str = option(
        "listwise", "over all candidates of a query, or over pairs of them",
        choices=("listwise", "pairwise"),
    )  # fmt: skip
    epochs: int = default(10)
    patience: int = default(6)
    batch_size: int | None = size_dependent(
        16, 8, "queries per training step, with all their candidates", unit="pairs", low=1
    )
    learning_rate: float | None = size_dependent(0.001, 0.005, unit="pairs")
    averaging: float = default(0.98)
    baselines: bool = option(True, "train the same model without attention too, to compare")
    # What is written.
    parity_queries: int = option(100, "test queries on which the exports are compared", low=1)
    text_signature: bool = option(True, TEXT_SIGNATURE)
    explained: int = option(100, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    query: tuple[str, ...] = argument(
        "the query; none: those of the table in --file, or else of standard input", nargs="*"
    )
    file: Path | None = option(
        None, "texts to rank, one per line, or a csv, tsv or jsonl table; none: standard input"
    )
    query_column: str | None = option(
        None, "column of the query (default: question, or else query)"
    )
    document_column: str | None = option(
        None, "column of the text (default: answer, or else document)"
    )
    top: int = option(10, "texts to show of each query", low=1)
    format: str = option(
        "text", "how answers are written: jsonl has the words that were compared",
        choices=ranked.FORMATS,
    )  # fmt: skip
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


def build_model(config, texts, attention=True):
    """The model of a pair of texts, to train and to use.

    Args:
        config: A `Config`.
        texts: `pair_texts.Texts`, for what is known of their words.
        attention: Boolean; if not, means take the place of what attention finds.

    Returns:
        The model to train: from a dict of `query` `(B, T)`, `document` `(B, S)` and, with
        `--position`, `position` `(B, 1)`, to scores `(B, 1)`; of two towers to `(B, B)`, of each
        document for each query. The model to use: from the same to a dict of `score` `(B, 1)` and,
        but for two towers, `weights` `(B, S, T)`, by which each word of the document attends to the
        query's; these sum to one.
    """
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import pair_models, two_towers
    from recipes.parts.shared_words import SharedWords

    if config.architecture == "encoder":
        return two_towers.build(config, texts, NAME, attention)
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name) for name in ("query", "document")
    }
    query, document = (ids[:, : config.max_steps] for ids in inputs.values())
    sharing = SharedWords(len(texts.vectors), name="shared")
    shared, *flags_of_steps = sharing(query, document)
    sharing.set_statistics(texts.idf, texts.mean_length)
    embed = layers.Embedding(*texts.vectors.shape, trainable=False, name="vectors")
    gate = layers.Dense(config.units, activation="sigmoid", name="gate")
    project = layers.Dense(config.units, activation="tanh", name="project")

    kept = pair_models.dropout_of_components(embed(query), config.dropout, config.seed)

    def read(ids, flags_of):
        """The steps of a text: a gated projection of the words' vectors, and their flags."""
        x = vectors = embed(ids) * kept
        if config.overlap:
            x = layers.Concatenate()([x, flags_of])
        return pair_models.Text(gate(x) * project(x), ops.greater(ids, 0), vectors)

    query, document = read(query, flags_of_steps[0]), read(document, flags_of_steps[1])
    match = pair_models.ARCHITECTURES[config.architecture]
    features, weights = match(
        query, document, units=config.units, dropout=config.dropout, seed=config.seed + 1,
        attention=attention, max_steps=config.max_steps,
    )  # fmt: skip

    # What the question asks for, and whether the candidate has it.
    if attention:
        asked = ka.AttentionPooling(name="asked")(query.steps, mask=query.known)
    else:
        asked = query.mean(query.steps)
    told = document.convolved(document.steps, config.units // 2, (1, 2, 3), "told")
    fits = layers.Dense(config.units, name="answer")(told)
    fits = fits * layers.Dense(config.units, name="question")(asked)

    x = layers.Dropout(config.dropout, seed=config.seed + 3)(
        layers.Concatenate()([*features, asked, fits])
    )
    x = layers.Dense(config.units, activation="relu", name="hidden")(x)
    x = [layers.Dropout(config.dropout, seed=config.seed + 4)(x)]
    if config.overlap:
        x.append(shared)
    if config.position:
        inputs["position"] = keras.Input((1,), dtype="int32", name="position")
        position = ops.cast(inputs["position"], "float32")
        x += [1 / (1 + position), ops.log1p(position) / 3]
    x = layers.Concatenate()(x) if len(x) > 1 else x[0]
    score = layers.Dense(1, dtype="float32", name="score")(x)
    embed.embeddings.assign(texts.vectors)
    model = keras.Model(inputs, {"score": score, "weights": weights}, name=NAME)
    return keras.Model(inputs, score), model


def compile_model(config, model, batches):
    """Loss and optimizer."""
    import keras

    from recipes.parts.ranking_losses import LOSSES

    momentum = fitting.momentum(config.averaging, batches)
    adam = keras.optimizers.Adam(config.learning_rate, use_ema=True, ema_momentum=momentum)
    # Hardly two batches have the same shape: XLA would compile each anew.
    model.compile(adam, LOSSES[config.loss], jit_compile=False)


def train(config):
    """Train a ranker, measure it beside its baselines, and export it."""
    if config.position and config.architecture == "encoder":
        raise UserError("--position needs another --architecture: an encoder reads texts alone")
    if config.architecture == "encoder":  # which compares each row with all others
        processes.need_one("--architecture encoder")
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(candidates.CandidateReader, config).load(config.data)
    wordpiece.tensorflow_text()  # or an error, before anything is written
    import keras

    from recipes.parts import pair_texts

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        texts = pair_texts.read(config, data)
        batches = texts.batches(config, "train", shuffle_seed=config.seed, epoch=run.epochs_done)

        def build(attention):
            """The model to train, the one to use, and callbacks that validate it."""
            keras.utils.set_random_seed(config.seed)
            training, model = build_model(config, texts, attention)
            compile_model(config, training, batches)

            def validate(epoch, logs):
                logs["val_map"] = texts.measure(config, model, "validation")["map"]

            watch = keras.callbacks.LambdaCallback(on_epoch_end=validate)
            return training, model, fitting.with_averaged_weights(watch)

        training, model, watch = build(attention=True)
        run.fit(training, batches, monitor="val_map", mode="max", callbacks=watch)
        scores = texts.measure(config, model, "test")
        baselines = matching.baselines(
            data.train, texts.rows["test"], with_position=config.position, seed=config.seed
        )
        if config.baselines:
            training, alike, watch = build(attention=False)
            batches = texts.batches(config, "train", shuffle_seed=config.seed)
            run.fit_baseline("without attention", training, batches, callbacks=watch)
            baselines["the same without attention"] = texts.measure(config, alike, "test")
        records.show_scores(scores, baselines)
        parts = searched if config.architecture == "encoder" else ranked
        forms = parts.export(model, run.path, texts, config)
        run.publish(
            model, data, title="Text matching", scores=scores, baselines=baselines, exports=forms,
            card=card(config), plot="map", details={"architecture": config.architecture},
            maps=pairs.maps_of(config, model, texts.rows["test"], texts.vocabulary),
        )  # fmt: skip


def card(config):
    """The words of the model card."""
    return (searched if config.architecture == "encoder" else ranked).card(config)


def predict(config):
    """Rank texts by how well they answer a query."""
    ranked.answer(config, searched.load(config.folder, NAME, FORMS[config.form]))


def explain(config):
    """Test whether the weights of a trained model explain its choices, and write a page."""
    pairs.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
