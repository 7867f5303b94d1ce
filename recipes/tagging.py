"""Tagging: what a sentence asks for, and the words that fill its slots.

Trains a model that gives each token a tag, so that spans such as cities, names and dates are found
(slot filling, named entities), and the sentence an intent, both at once or one of them. It is
exported as a SavedModel and as TFLite files that need no tokenizer: a sentence is cut at spaces.

Model. A token is its word, its first and last three letters and its shape, so that unknown words
tell something. A bidirectional GRU (or a transformer) reads them, for all tasks together. A second
GRU goes over the tokens once more: at each it is given the encoder's state there (the alignment is
known) and the mean of all states weighted by attention, and gives the tag. The intent is told by
attention pooling over the same states. The losses of the tasks are added, by their weights.

Score of spans: micro-averaged F1, as the package seqeval has it (recipes/kit/spans.py).

Data: "toy" (generated, offline), a folder with train.csv and test.csv (also tsv, jsonl, gzip;
columns tokens, tags and intent, of which tokens and tags are set apart by spaces), or with
train.conll and test.conll (a token and its tag per line), or a set of TensorFlow Datasets, such as
"tfds:conll2003" with `--tasks slots --tags-column ner`.

    python -m recipes.tagging train --data toy
    python -m recipes.tagging train --data toy --tasks slots
    python -m recipes.tagging predict saved_models/tagging "Leaving now please send it to Baton"
    python -m recipes.tagging explain saved_models/tagging

Score: slot F1 0.9548 and intent accuracy 0.9697 on ATIS, means of three seeds.

Reference: Liu & Lane, 2016, https://arxiv.org/abs/1609.01454. Theirs is an LSTM over words alone,
and the tag before is an input of the next; here it is not.
"""

import dataclasses
import sys
from pathlib import Path

from recipes.baselines import tags
from recipes.data import tagged
from recipes.kit import explaining, fitting, flags, records, spans
from recipes.kit.errors import UserError
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, argument, default, option
from recipes.kit.running import Run
from recipes.maps import intents
from recipes.parts import tagged_texts

NAME = "tagging"


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    output: Path = default(Path("saved_models") / NAME)
    tasks: str = option(
        "slots,intent", 'what is learned: "slots,intent" (both), slots or intent',
        choices=tagged.TASKS,
    )  # fmt: skip
    tokens_column: str = option("tokens", "column of the tokens, set apart by spaces")
    tags_column: str = option("tags", "column of the tags, set apart by spaces")
    intent_column: str = option("intent", "column of the intent")
    validation_fraction: float = option(
        0.1, "share of the training sentences to validate on, without a file for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    # Network.
    encoder: str = option("gru", "what reads the tokens", choices=("gru", "transformer"))
    embedding_size: int = option(64, "size of the vector of each of a token's four features", low=1)
    units: int = option(64, "GRU units per direction; a transformer has twice the size", low=4)
    blocks: int = option(2, "blocks of the transformer", low=1)
    heads: int = option(4, "heads of a block; they divide twice the units", low=1)
    dropout: float = option(0.4, "dropout rate", low=0.0, high=0.95)
    # Training.
    slot_weight: float = option(1.0, "weight of the loss of the tags", low=1e-3, high=1e3)
    intent_weight: float = option(1.0, "weight of the loss of the intent", low=1e-3, high=1e3)
    unknown: float = option(
        0.5, "probability that a word seen once in training is read as unknown", low=0.0, high=1.0
    )
    epochs: int = default(20)
    patience: int = default(8)
    batch_size: int = default(32)
    learning_rate: float = default(0.003)
    # What is compared and written.
    baselines: bool = option(True, "train linear models and the same without attention too")
    single_tasks: bool = option(False, "also train a model for each task alone, to compare")
    parity_sentences: int = option(200, "test sentences on which the exports are compared", low=1)
    explained: int = option(100, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    texts: tuple[str, ...] = argument("texts to read; none: the lines of standard input", nargs="*")
    file: Path | None = option(None, "file with a text per line, or a csv, tsv or jsonl table")
    text_column: str = option("text", "column of the text in a table")
    tokenized: bool = option(False, "texts are cut at spaces alone, as training data are")
    format: str = option(
        "text", "how answers are written: tsv is what train reads, jsonl has the weights",
        choices=tagged_texts.FORMATS,
    )  # fmt: skip
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


def build_model(config, sentences, tasks, attends=True):
    """The tagger, once to train and once to use; both share all weights.

    Args:
        config: A `Config`.
        sentences: `recipes.parts.tagger.Sentences`.
        tasks: String, one of `tagged.TASKS`: what is told of a sentence.
        attends: Whether attention has weights, or all steps the same, for a baseline.

    Returns:
        The model to train: ids of the features of tokens `(B, T, 4)` to a dict of logits, `slots`
        `(B, T, C)` and `intent` `(B, I)`. The model to use: ids to a dict of `tag_probability`
        `(B, T, C)`; `tag_weights` `(B, T, T)`, which sum to one over the last axis: how much each
        token counted for the tag of another; `intent_probability` `(B, I)` and `intent_weights`
        `(B, T)`. Padding is 0, at the right.
    """
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import tagger
    from recipes.parts.equal_weights import EqualScore

    ids = keras.Input((None, tagger.FEATURES), dtype="int32", name="ids")
    known = ops.greater(ids[:, :, 0], 0)  # (B, T)
    h = tagger.encoder(config, len(sentences.vocabulary))(ids)  # (B, T, 2 * units)
    training, use = {}, {}

    def drop(x, number):
        return layers.Dropout(config.dropout, seed=config.seed + number)(x)

    if "slots" in tasks:
        score = ka.AdditiveScore(config.units) if attends else EqualScore()
        decoder = ka.AttentionDecoder(
            layers.GRUCell(config.units), ka.ContentAttention(score), order="bahdanau", name="slots"
        )
        first = layers.Dense(config.units, activation="tanh", name="bridge")(h[:, 0])
        s, weights = decoder(
            h, h, initial_state=first, inputs_mask=known, memory_mask=known,
            return_attention_scores=True,
        )  # fmt: skip
        s = drop(ops.concatenate([s, h], axis=-1), 2)  # (B, T, 3 * units)
        logits = layers.Dense(len(sentences.data.tags), dtype="float32", name="tags")(s)
        training["slots"] = logits  # (B, T, C)
        use["tag_probability"] = ops.softmax(logits, axis=-1)
        use["tag_weights"] = ops.cast(weights, "float32")  # (B, T, T)
    if "intent" in tasks:
        score = "tanh_dot" if attends else EqualScore()
        pool = ka.AttentionPooling(score=score, name="intent")
        vector, weights = pool(h, mask=known, return_attention_scores=True)
        count = len(sentences.data.intents)
        logits = layers.Dense(count, dtype="float32", name="intents")(drop(vector, 3))
        training["intent"] = logits  # (B, I)
        use["intent_probability"] = ops.softmax(logits, axis=-1)
        use["intent_weights"] = ops.cast(weights, "float32")  # (B, T)
    return keras.Model(ids, training), keras.Model(ids, use, name=NAME)


def compile_model(config, model, batches):
    """Cross-entropies with the weights of their tasks, and Adam with the average that is kept."""
    import keras

    import keras_attention as ka

    rate = fitting.warmup_cosine(config.learning_rate, config.epochs * len(batches))
    momentum = fitting.momentum(config.averaging, batches)
    weights = {"slots": config.slot_weight, "intent": config.intent_weight}
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum),
        {name: ka.SequenceCrossentropy(ignore_class=-1, from_logits=True) for name in model.output},
        loss_weights={name: weights[name] for name in model.output},
    )


def train(config):
    """Train a tagger, measure it beside its baselines, and export it."""
    if config.encoder == "transformer" and 2 * config.units % config.heads:
        raise UserError(
            f"--heads must divide twice --units. Received: {config.heads} and {config.units}"
        )
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(tagged.TagReader, config).load(config.data)
    import keras

    from recipes.parts import tagger

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        sentences = tagger.Sentences.of(data)
        print(f"{len(sentences.vocabulary):,} features of tokens")

        def fit(name=None, tasks=config.tasks, attends=True):
            """Trains a model: that of the run, or with a name one to compare with."""
            epoch = run.epochs_done if name is None else 0
            batches = sentences.batches(config, tasks, epoch)
            training, model = build_model(config, sentences, tasks, attends)
            compile_model(config, training, batches)

            def validate(epoch, logs):
                answers = sentences.answers(training, "validation")
                logs["val_score"] = tagger.mean_score(tagger.measure(data.validation, *answers))

            validation = keras.callbacks.LambdaCallback(on_epoch_end=validate)
            watch = fitting.with_averaged_weights(validation)
            if name is None:
                run.fit(training, batches, monitor="val_score", mode="max", callbacks=watch)
            else:
                run.fit_baseline(name, training, batches, callbacks=watch)
            return model, sentences.answers(training, "test")

        model, found = fit()
        scores = tagger.measure(data.test, *found)
        baselines = {}
        if config.baselines:
            for name, answers in without_network(config, data).items():
                baselines[name] = tagger.measure(data.test, *answers)
            name = "the same without attention"
            baselines[name] = tagger.measure(data.test, *fit(name, attends=False)[1])
        if config.single_tasks and "," in config.tasks:
            single = [fit(f"{task} alone", task)[1] for task in config.tasks.split(",")]
            answers = single[0][0], single[1][1]
            baselines["a model for each task"] = tagger.measure(data.test, *answers)
        records.show_scores(scores, baselines)
        forms = tagger.export(
            model, run.path, data, sentences.vocabulary,
            sentences.ids["test"][: config.parity_sentences],
        )  # fmt: skip
        details = {"types": spans.by_type(data.test.tag_lists, found[0])} if data.tags else {}
        run.publish(
            model, data, title="Slots and intents", scores=scores, baselines=baselines,
            exports=forms, card=card(config), plot="score", details=details,
            maps=intents.maps_of(config, model, data, sentences.vocabulary, data.intents),
        )  # fmt: skip


def without_network(config, data):
    """Tags and intents for the test split by two simpler ways, `None` for what is not a task."""
    train, test = data.train, data.test
    has_slots, has_intent = bool(data.tags), bool(data.intents)
    return {
        "most frequent tag and intent": (
            tags.most_frequent(train, test.words) if has_slots else None,
            tags.most_frequent_intent(train, test.tokens) if has_intent else None,
        ),
        "linear models": (
            tags.linear(train, test.words, seed=config.seed) if has_slots else None,
            tags.intents(train, test.tokens) if has_intent else None,
        ),
    }


def card(config):
    """The words of the model card."""
    return tagged_texts.card(config)


def predict(config):
    """Tell the slots and the intent of texts, and what was looked at."""
    read = tagged_texts.Reader.load(config.folder, NAME, FORMS[config.form])
    tagged_texts.answer(config, read)


def explain(config):
    """Test whether the weights of a trained model explain its intents, and write a page."""
    intents.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
