"""Sentiment analysis: from raw text to a phone, with the words that decided.

Trains a classifier of texts, by default the sentiment of reviews, and exports it as a SavedModel
and as TFLite files that take raw text or ids. It answers with a label, its probability, and for
each word how much it counted.

Model. Every run of one to three word pieces is an n-gram with evidence e_i for each class, which
starts as its naive-Bayes log-count ratio and is refined in training. Attention pooling averages
the evidence's directions e_i / |e_i| with weights p_i = softmax(s_i + log |e_i| - log repeats_i),
where s_i is learned for each n-gram and moved by its context (a small convolution, which also
scales e_i); the sum is scaled by the total evidence. So p_i is by construction the share that
n-gram i has in the decision. What is kept is a moving average of the weights, which overfits less.

Data: "toy" (generated, offline), a folder with train.csv and test.csv (also tsv, jsonl, gzip;
columns text and label), or "tfds:imdb_reviews", "tfds:glue/sst2" and the like.

    python -m recipes.sentiment_analysis train --data toy
    python -m recipes.sentiment_analysis predict saved_models/sentiment_analysis "Not bad at all!"

In a terminal predict shades the words. In a file or a pipe, or if NO_COLOR is set, it writes the
weight after each word that has a fifth of the largest weight or more: not(0.41) bad(0.32) at all!

Reference: Wang & Manning, 2012 (log-count ratios), https://aclanthology.org/P12-2018; Yang et al.,
2016 (attention pooling), https://aclanthology.org/N16-1174. Neither has the directions nor the
share of the total; figures on real data, with time and machine, stand in the README.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from recipes.data import texts as text_data
from recipes.kit import errors, exports, fitting, flags, records, run_folder
from recipes.kit.errors import UserError
from recipes.kit.flags import argument, option
from recipes.text import wordpiece

NAME = "sentiment_analysis"
FORMS = {
    "tflite": "model.tflite",
    "tflite_float16": "model_float16.tflite",
    "tflite_int8": "model_int8.tflite",
    "tflite_full_int8": "model_full_int8.tflite",
    "saved_model": "saved_model",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What `train` can be told."""

    data: str = option("toy", "toy, tfds:NAME or a folder with train.* and test.*")
    output: Path = option(Path("saved_models") / NAME, "folder to write")
    epochs: int = option(15, "passes over the training texts, at most", low=1)
    patience: int = option(3, "epochs without a better validation accuracy before it stops", low=1)
    batch_size: int = option(64, "texts a training step", low=1)
    learning_rate: float = option(0.001, "step size of Adam", low=1e-6, high=1.0)
    averaging: float = option(
        0.99, "how much of the moving average of the weights a step keeps", low=0.0, high=0.9999
    )
    vocabulary_size: int | None = option(
        None, "word pieces to learn, at most; none: 16000, or 4000 of few texts", low=100,
        high=100_000,
    )  # fmt: skip
    order: int = option(3, "word pieces in the longest n-gram", low=1, high=5)
    min_texts: int | None = option(
        None, "texts that must have an n-gram for it to be kept; none: 5, or 2 of few texts", low=1
    )
    max_pieces: int = option(400, "word pieces of a text read in training; later all are", low=8)
    embedding_size: int = option(32, "size of a word piece's vector, for the context", low=1)
    dropout: float = option(0.5, "fraction of n-grams hidden in training", low=0.0, high=0.95)
    context_dropout: float = option(0.3, "dropout around the convolution", low=0.0, high=0.95)
    validation_fraction: float = option(
        0.1, "share of the training texts to validate on, without a file for it", low=0.01, high=0.5
    )
    baselines: bool = option(True, "train tf-idf and mean pooling too, to compare")
    full_int8: bool = option(False, "also export with int8 activations")
    parity_texts: int = option(200, "test texts on which the exports are compared", low=1)
    seed: int = option(0, "seed of everything random", low=0)
    mixed_precision: bool = option(False, "compute the context in 16 bits")
    limit: int | None = option(None, "texts of each split to use, for a quick look", low=4)
    text_column: str = option("text", "column of the text")
    label_column: str = option("label", "column of the label")
    data_dir: Path | None = option(None, "where TensorFlow Datasets keeps its data")
    tensorboard: Path | None = option(None, "folder for TensorBoard's logs")


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    texts: tuple[str, ...] = argument("texts to read; none: the lines of standard input", nargs="*")
    file: Path | None = option(None, "file with a text a line")
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))
    html: Path | None = option(None, "also write a page with the shaded texts")


# ------------------------------------------------------------------------------------- train


def load_data(config):
    """The labelled texts of `--data`."""
    return text_data.load(
        config.data,
        seed=config.seed,
        validation_fraction=config.validation_fraction,
        limit=config.limit,
        text_column=config.text_column,
        label_column=config.label_column,
        data_dir=config.data_dir,
    )


def build_model(config, vocabulary_size, keys, counts, pooling="attention"):
    """The classifier, once to train and once to use; both share all weights.

    Args:
        config: A `Config`.
        vocabulary_size: Integer, number of word pieces.
        keys: int32 `(K,)`, the n-grams, from `ngrams.select`.
        counts: float32 `(K, C)`, in how many texts of each class each occurs.
        pooling: `"attention"`, or `"mean"` for the baseline with equal weights.

    Returns:
        The model to train: ids `(B, T)` and own_class `(B, 1)` to probabilities `(B, C)`. The model
        to use: ids to a dict of `probability` `(B, C)`, `weights` `(B, T)`, which sum to one over
        the pieces, and `evidence` `(B, T, C)`, whose sum over the pieces makes the decision.
    """
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import ngrams

    num_ngrams, num_classes = counts.shape
    ids = keras.Input((None,), dtype="int32", name="ids")
    own_class = keras.Input((1,), dtype="int32", name="own_class")

    rows = ngrams.NGramLookup(num_ngrams, vocabulary_size, config.order, name="lookup")(ids)
    rows = ngrams.NGramDropout(config.dropout, seed=config.seed, name="ngram_dropout")(rows)
    flat = layers.Reshape((-1,), name="flat")(rows)  # (B, S), S = T * order n-grams
    known = ops.greater(flat, 0)

    evidence_layer = ngrams.NaiveBayesEvidence(
        num_ngrams, num_classes, dtype="float32", name="evidence"
    )
    attention = ka.AttentionPooling(score="dot", dtype="float32", name="attention")
    scale = ngrams.EvidenceScale(dtype="float32", name="scale")

    # The pieces around an n-gram move its score and scale its evidence (a negation turns it).
    context_score, context_gain = _context(config, ids, vocabulary_size)  # (B, S, 1) each
    own = layers.Embedding(num_ngrams + 1, 1, "zeros", dtype="float32", name="salience")(flat)
    repeats = layers.Reshape((-1, 1))(ngrams.LogRepeats(dtype="float32", name="repeats")(rows))
    salience = own + context_score - repeats  # those that say the same share one vote

    def pool(evidence):  # (B, S, C)
        evidence = evidence * (1.0 + context_gain)
        if pooling == "attention":
            size = ops.sqrt(ops.sum(ops.square(evidence), axis=-1, keepdims=True) + 1e-6)
            # Not `evidence / size`, which TFLite would join to a norm without the least size.
            score, value = ops.log(size) + salience, evidence * ops.reciprocal(size)
        else:
            score, value = -repeats, evidence
        one = ops.ones_like(score[:, 0])  # the score is all there is: the query passes it on
        pooled, weights = attention(
            value, query=one, key=score, value_mask=known, return_attention_scores=True
        )
        strength = scale(score, known)  # (B, 1)
        contributions = ops.expand_dims(weights * strength, -1) * value  # (B, S, C)
        return pooled * strength, weights, contributions

    bias = ngrams.Bias(name="bias", dtype="float32")
    to_probability = layers.Softmax(name="probability", dtype="float32")
    training = keras.Model(
        {"ids": ids, "own_class": own_class},
        to_probability(bias(pool(evidence_layer(flat, own_class))[0])),
    )

    logits, weights, contributions = pool(evidence_layer(flat))
    spread = ngrams.SpreadOverPieces(name="spread", dtype="float32")
    shares = ops.concatenate([ops.expand_dims(weights, -1), contributions], axis=-1)
    shares = spread(layers.Reshape((-1, config.order, 1 + num_classes))(shares))  # (B, T, 1 + C)
    use = keras.Model(
        ids,
        {
            "probability": to_probability(bias(logits)),
            "weights": shares[:, :, 0],
            "evidence": shares[:, :, 1:],
        },
        name=NAME,
    )
    training.get_layer("lookup").keys.assign(keys)
    evidence_layer.set_counts(counts)
    return training, use


def _context(config, ids, vocabulary_size):
    """What the pieces around each n-gram say: to add to its score, and to scale its evidence."""
    from keras import layers, ops

    size = config.embedding_size
    x = layers.Embedding(vocabulary_size, size, name="pieces")(ids)  # (B, T, E)
    x = x * ops.cast(ops.expand_dims(ids, -1) > 0, x.dtype)  # the convolution sees no padding
    x = layers.Dropout(config.context_dropout, seed=config.seed)(x)
    x = layers.Conv1D(size, 5, padding="same", activation="relu", name="context")(x)
    x = layers.Dropout(config.context_dropout, seed=config.seed + 1)(x)
    return [
        layers.Reshape((-1, 1), dtype="float32")(layers.Dense(config.order, name=name)(x))
        for name in ("context_score", "context_gain")
    ]


def batches(config, ids, split, *, is_training=False, epoch=0):
    """Batches of a split. For training they are shuffled, cut, and name each text's own class."""
    from recipes.data.batches import PaddedBatches

    cut = config.max_pieces if is_training else None
    return PaddedBatches(
        [text[:cut] for text in ids],
        split.labels,
        config.batch_size,
        shuffle_seed=config.seed if is_training else None,
        names_own_class=is_training,
        epoch=epoch,
    )


def compile_model(config, model):
    """Loss, optimizer and metric."""
    import keras

    model.compile(
        keras.optimizers.Adam(config.learning_rate, use_ema=True, ema_momentum=config.averaging),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )


def fit(config, model, data, ids, callbacks, *, epoch=0):
    """Trains on the training split, watched on the validation split."""
    model.fit(
        batches(config, ids["train"], data.train, is_training=True, epoch=epoch),
        validation_data=batches(config, ids["validation"], data.validation),
        epochs=config.epochs,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )


def tfidf_accuracy(data):
    """Test accuracy of logistic regression over tf-idf of words and pairs of words.

    It has no use for a validation split, so it learns from that as well.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = data.train.texts + data.validation.texts
    labels = np.concatenate([data.train.labels, data.validation.labels])
    baseline = make_pipeline(
        TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=2 if len(texts) > 1000 else 1
        ),
        LogisticRegression(C=10, max_iter=1000),
    )
    baseline.fit(texts, labels)
    return float(baseline.score(data.test.texts, data.test.labels))


def train(config):
    """Train a classifier, measure it beside its baselines, and export it."""
    with run_folder.RunFolder(config.output, recipe=NAME) as run:
        wordpiece.tensorflow_text()
        data = load_data(config)
        print(data)
        run.start(config, data=data.fingerprint)
        _train(config, data, run)


def _train(config, data, run):
    from recipes.parts import ngrams

    fitting.set_up_keras(config.seed, mixed_precision=config.mixed_precision)
    is_large = len(data.train) >= 15_000
    vocabulary = wordpiece.learn_vocabulary(
        data.train.texts, config.vocabulary_size or (16_000 if is_large else 4_000)
    )
    tokenizer = wordpiece.fast_tokenizer(vocabulary)
    ids = {
        part: wordpiece.tokenize(tokenizer, getattr(data, part).texts)
        for part in ("train", "validation", "test")
    }
    keys, counts = ngrams.select(
        ids["train"],
        data.train.labels,
        vocabulary_size=len(vocabulary),
        num_classes=len(data.labels),
        order=config.order,
        min_texts=config.min_texts or (5 if is_large else 2),
    )
    print(f"{len(vocabulary):,} word pieces, {len(keys):,} n-grams of up to {config.order}")

    def build(pooling):
        return build_model(config, len(vocabulary), keys, counts, pooling)

    training, model = build("attention")
    compile_model(config, training)
    callbacks = fitting.training_callbacks(
        run,
        monitor="val_accuracy",
        mode="max",
        patience=config.patience,
        use_average=True,
        tensorboard=config.tensorboard,
    )
    if not run.is_trained:
        fit(config, training, data, ids, callbacks, epoch=run.epochs_done)
    fitting.load_best_weights(training, run)
    minutes = run.minutes

    test = batches(config, ids["test"], data.test)
    measured = training.evaluate(test, return_dict=True, verbose=0)
    scores = {"accuracy": measured["accuracy"], "log_loss": measured["loss"]}
    baselines = {}
    if config.baselines:
        baselines["tf-idf, logistic regression"] = tfidf_accuracy(data)
        baselines["mean pooling"] = _mean_pooling_accuracy(config, build, data, ids, test)
    for name, accuracy in {"this model": scores["accuracy"], **baselines}.items():
        print(f"test accuracy {accuracy:.4f}  {name}")

    model.save(run.path / "model.keras")
    forms = exports.export_classifier(
        model,
        run.path,
        formats=[form for form in FORMS if form != "tflite_full_int8" or config.full_int8],
        labels=data.labels,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        texts=data.test.texts[: config.parity_texts],
        ids=ids["test"][: config.parity_texts],
    )
    records.plot_history(run.history, run.path / "history.png")
    metrics = records.write_metrics(
        run.path,
        recipe=NAME,
        data=data.name,
        seed=config.seed,
        scores=scores,
        baselines=baselines,
        minutes=minutes,
        epochs=run.epochs_done,
        parameters=model.count_params(),
        exports=forms,
    )
    records.write_model_card(
        run.path, title="Sentiment analysis", sections=_card(data), metrics=metrics
    )
    run.finish()


def _mean_pooling_accuracy(config, build, data, ids, test):
    """The same model, trained alike, in which all n-grams of a text weigh the same."""

    training, _ = build("mean")
    compile_model(config, training)
    stop = fitting.baseline_callbacks("val_accuracy", "max", config.patience)
    print("The same with mean pooling:")
    fit(config, training, data, ids, stop)
    return training.evaluate(test, return_dict=True, verbose=0)["accuracy"]


# -------------------------------------------------------------------------------- model card


def _card(data):
    """The words of the model card."""
    return {
        "What it does": (
            f"Tells which of {', '.join(data.labels)} a text is, how sure it is, and how much each "
            "word piece counted: the `weights` sum to one over the text, and the `evidence` of all "
            "pieces sums to what decides."
        ),
        "Data and licence": "\n\n".join(
            [data.description, data.licence, *(f"Note: {note}." for note in data.notes)]
        ),
        "Limits": (
            "It knows words and runs of three word pieces, not sentences: irony, comparisons and "
            "what is said three words away escape it. It learned from one kind of text and is "
            "worse on others. A word that it has never seen counts for nothing, and a text without "
            "any known word gets the frequencies of the labels. It must not decide about people."
        ),
        "How to use": (
            f'    python -m recipes.{NAME} predict FOLDER "A text"\n\n'
            "`model.tflite` has two signatures: `text` takes raw text and needs tensorflow-text's "
            "operators; `ids` runs in any interpreter, with `vocabulary.txt` and `labels.txt` in "
            "the file itself (it is also a zip archive). `saved_model` takes raw text and loads "
            "after `import tensorflow_text`."
        ),
    }


# ----------------------------------------------------------------------------------- predict


def predict(config):
    """Tell the sentiment of texts and show the words that decided."""
    from keras_attention.explain.highlight import shade, to_html

    run_folder.find_run(config.folder, recipe=NAME, files=[FORMS[config.form], "vocabulary.txt"])
    texts = flags.given_or_read(config.texts, config.file, "texts")
    read = _reader(config)
    pages = []
    for text in texts:
        label, probability, spans, weights = read(text)
        heading = f"{label} {probability:.3f}"
        print(f"{heading}  {shade(text, spans, weights)}", flush=True)
        pages.append((heading, text, spans, weights))
    if config.html:
        try:
            config.html.write_text(to_html("Sentiment analysis", pages), encoding="utf-8")
        except OSError as error:
            raise UserError(f"Cannot write --html {config.html}: {error.strerror}") from error


def _reader(config):
    """A function from a text to its label, probability, and words with their weights."""
    path = config.folder / FORMS[config.form]
    try:
        vocabulary = (config.folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
        tokenizer = wordpiece.fast_tokenizer(vocabulary)
    except (OSError, ValueError, RuntimeError, UnicodeDecodeError) as error:
        raise errors.cannot_load(path, error) from error
    run = exports.text_runner(path)

    def read(text):
        outputs = run([text])
        best = int(np.argmax(outputs["probability"][0]))
        spans, weights = wordpiece.word_weights(tokenizer, vocabulary, text, outputs["weights"][0])
        label = outputs["label"][0].decode()
        return label, float(outputs["probability"][0, best]), spans, weights

    return read


if __name__ == "__main__":
    sys.exit(flags.command_line(__doc__, train=(Config, train), predict=(PredictConfig, predict)))
