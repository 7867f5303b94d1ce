"""Question answering: the words of a passage that answer a question about it.

Trains a model that reads a question and a passage and marks the answer (extractive reading), and
exports it as a SavedModel and as TFLite files. `predict` marks the answer in the passage, and tells
which words of the passage the question looked at.

Model. Question and passage are read by the same convolutions, as characters or as word pieces. Each
token is told whether the other text has it, alone and in runs with those around it, and how many of
those near it the other text has. Attention flows both ways: each step of the passage attends to the
question, and the question to the passage (either side can be switched off). Convolutions and
self-attention read what was found. Two pointers, whose query is the question by attention pooling,
give the logits of the first and the last step; the best pair of them is found inside of the graph.

Data: "toy" (generated, offline); a folder with train.csv and test.csv (also tsv, jsonl, gzip;
columns context, question, answer and start, the answer's first character, counted from 0; perhaps
title), or with train.json and dev.json as SQuAD has them; or a set of TensorFlow Datasets with
SQuAD's features, such as "tfds:squad".

    python -m recipes.question_answering train --data toy
    python -m recipes.question_answering predict saved_models/question_answering \\
        "where did Olga buy something ?" --context "Olga purchased a lamp in Riga . Ida made it ."
    python -m recipes.question_answering explain saved_models/question_answering

Score: exact match 0.5687 and F1 0.6886 on JaQuAD, after 42 minutes on one core of a server's CPU;
0.4966 and 0.6149 without attention.

References: Seo et al., 2017, https://arxiv.org/abs/1611.01603 (attention flow); Yu et al., 2018,
https://arxiv.org/abs/1804.09541 (convolutions and self-attention); Chen et al., 2017,
https://arxiv.org/abs/1704.00051 (words that both have, pointers by a bilinear score). In the first
an LSTM reads, in the second the model after the flow is three times as deep.
"""

import dataclasses
import itertools
import sys
from pathlib import Path

from recipes.baselines import reading as simple
from recipes.data import reading
from recipes.kit import answers, explaining, fitting, flags, records
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, default, option, size_dependent
from recipes.kit.running import Run
from recipes.maps import questions
from recipes.parts import answered
from recipes.text import offsets

NAME = "question_answering"


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    data: str = option("toy", "toy, tfds:NAME or a folder with train.* and test.* or dev.*")
    output: Path = default(Path("saved_models") / NAME)
    limit: int | None = option(None, "questions of each split to use, for a quick look", low=4)
    question_column: str = option("question", "column of the question")
    context_column: str = option("context", "column of the passage")
    answer_column: str = option("answer", "column of the answer")
    start_column: str = option("start", "column of the answer's first character, from 0")
    title_column: str = option("title", "column of what passages of one source share, if any")
    validation_fraction: float = option(
        0.05, "share of the training titles to validate on, without a file for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    tokens: str | None = option(
        None, "what is read (default: pieces, characters of scripts without spaces)",
        choices=offsets.KINDS,
    )  # fmt: skip
    vocabulary_size: int | None = size_dependent(
        8_000, 2_000, "word pieces to learn, at most", unit="questions", low=100, high=100_000
    )
    max_context: int = option(1024, "tokens of a passage read at once; more in windows", low=16)
    max_question: int = option(96, "tokens of a question that are read", low=4)
    max_answer: int = option(30, "tokens of an answer, at most", low=2, high=500)
    metric: str | None = option(
        None, "how answers are compared (default: words, characters of scripts without spaces)",
        choices=answers.METRICS,
    )  # fmt: skip
    # Network.
    context_to_question: bool = option(True, "attention of the passage to the question")
    question_to_context: bool = option(True, "attention of the question to the passage")
    matches: int = option(
        4, "tell which runs of 1 to so many tokens both texts have, and how many are near; 0: not",
        low=0, high=8,
    )  # fmt: skip
    embedding_size: int = option(64, "size of a token's vector", low=2)
    units: int | None = size_dependent(64, 32, "units of a layer", unit="questions", low=8)
    encoder_blocks: int | None = size_dependent(
        4, 1, "convolutions before the flow, over 3 steps, 1, 2, 4 or 8 apart", unit="questions",
        low=1, high=32,
    )  # fmt: skip
    model_blocks: int | None = size_dependent(
        5, 3, "convolutions after the flow", unit="questions", low=1, high=32
    )
    self_attention: int | None = size_dependent(
        1, 0, "blocks of self-attention after the flow", unit="questions", low=0, high=8
    )
    heads: int = option(2, "heads of a block; they divide the units", low=1)
    dropout: float | None = size_dependent(
        0.1, 0.0, "dropout rate", unit="questions", low=0.0, high=0.95
    )
    # Training.
    epochs: int | None = size_dependent(8, 10, unit="questions")
    patience: int = default(4)
    batch_size: int | None = size_dependent(16, 32, unit="questions")
    learning_rate: float | None = size_dependent(0.002, 0.01, unit="questions")
    averaging: float = default(0.998)
    baselines: bool = option(True, "train simpler models and the same without attention too")
    # What is written.
    parity_questions: int = option(100, "test questions on which the exports are compared", low=1)
    explained: int = option(50, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig(answered.PredictConfig):
    """What `predict` can be told."""

    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


def build_model(config, vocabulary_size):
    """The reader, once to train and once to use; both share all weights.

    Args:
        config: A `Config`; if both sides of the flow are off, means take the place of all that
            attention finds, also in self-attention and in the pointers' query.
        vocabulary_size: Integer.

    Returns:
        The model to train: from a dict of ids, `question` `(B, S)` and `context` `(B, T)`, to a
        dict of logits `(B, T)`, `start` and `end`. The model to use: from the same to a dict of
        `start` and `end` `(B,)`, the first and the last step of the answer; `score` and
        `probability` `(B,)`; `weights` `(B, T, S)`, by which each step of the passage attends to
        the question; and `looked_at` `(B, T)`, by which the question attends to the passage. Rows
        of weights sum to one.
    """
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import attention_flow as flow
    from recipes.parts.equal_weights import EqualScore

    attends = config.context_to_question or config.question_to_context
    normalizer = "softmax" if attends else "uniform"
    inputs = {n: keras.Input((None,), dtype="int32", name=n) for n in ("question", "context")}
    question, context = inputs["question"][:, : config.max_question], inputs["context"]
    asked_mask, context_mask = ops.greater(question, 0), ops.greater(context, 0)
    seeds = itertools.count(config.seed)

    def drop(x):
        return layers.SpatialDropout1D(config.dropout, seed=next(seeds))(x)

    def convolutions(count, name):
        """Convolutions, each of which reads steps further apart than the one before."""
        blocks = [
            flow.ConvolutionBlock(
                config.units, 2 ** (number % 4), config.dropout, next(seeds),
                name=f"{name}_{number + 1}",
            )
            for number in range(count)
        ]  # fmt: skip

        def convolve(x, mask):
            for block in blocks:
                x = block(x, mask)
            return x

        return convolve

    embed = layers.Embedding(vocabulary_size, config.embedding_size, name="tokens")
    project = layers.Dense(config.units, name="project")
    encode = convolutions(config.encoder_blocks, "encoder")
    norm = layers.LayerNormalization(name="norm")

    def read(ids, others, mask):
        x = drop(embed(ids))
        if config.matches:
            matches = flow.MatchFeatures(config.matches)(ids, others)
            x = layers.Concatenate()([x, matches])
        return norm(encode(project(x), mask))

    asked = read(question, context, asked_mask)  # (B, S, D)
    x = read(context, question, context_mask)  # (B, T, D)
    x, weights, looked_at = flow.AttentionFlow(
        config.context_to_question, config.question_to_context, name="flow"
    )(x, asked, context_mask, asked_mask)
    x = layers.Dense(config.units, name="flow_project")(drop(x))
    x = convolutions(config.model_blocks, "model")(x, context_mask)
    for number in range(1, 1 + config.self_attention):
        attention = ka.MultiHeadAttention(
            config.heads, config.units // config.heads, position=ka.RotaryPositionEmbedding(),
            normalizer=normalizer,
        )  # fmt: skip
        x = ka.TransformerEncoderBlock(
            2 * config.units, attention=attention, dropout=config.dropout, norm_first=True,
            seed=next(seeds), name=f"self_attention_{number}",
        )(x, mask=context_mask)  # fmt: skip
    pool = ka.AttentionPooling(score="tanh_dot" if attends else EqualScore(), name="asked")
    query = ops.expand_dims(pool(asked, mask=asked_mask), 1)  # (B, 1, D)
    logits = {}
    for name, count in (("start", 1), ("end", 2)):  # the end is read from what start is read from
        x = convolutions(count, name)(x, context_mask)
        read_from = layers.LayerNormalization(name=f"{name}_norm")(x) * config.units**-0.5
        point = ka.BilinearScore(dtype="float32", name=f"{name}_pointer")
        logits[name] = ops.where(context_mask, point(query, drop(read_from))[:, 0], -1e9)  # (B, T)
    best = flow.BestSpan(config.max_answer, dtype="float32", name="best")(*logits.values())
    outputs = dict(zip(("start", "end", "score", "probability"), best, strict=True))
    outputs |= {"weights": weights, "looked_at": looked_at}
    outputs |= {name: ops.cast(outputs[name], "float32") for name in ("weights", "looked_at")}
    return keras.Model(inputs, logits), keras.Model(inputs, outputs, name=NAME)


def compile_model(config, model, batches):
    """The cross-entropies of both ends, and Adam with the average that is kept."""
    import keras

    rate = fitting.warmup_cosine(config.learning_rate, config.epochs * len(batches))
    momentum = fitting.momentum(config.averaging, batches)
    adam = keras.optimizers.Adam(rate, global_clipnorm=5.0, use_ema=True, ema_momentum=momentum)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Hardly two batches have the same shape: XLA would compile each anew.
    model.compile(adam, dict.fromkeys(("start", "end"), loss), jit_compile=False)


def train(config):
    """Train a reader, measure it beside its baselines, and export it."""
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(reading.PassageReader, config).load(config.data)
    config = answered.settle(config, data)  # or an error, before anything is written
    import keras

    from recipes.parts import passages

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        texts = passages.read(config, data)
        print(f"{len(texts.tokens.names):,} different {config.tokens}")
        batches = texts.batches(config, shuffle_seed=config.seed, epoch=run.epochs_done)

        def build(config):
            """The model to train, the one to use, and callbacks that validate it."""
            keras.utils.set_random_seed(config.seed)
            training, model = build_model(config, len(texts.tokens.names))
            compile_model(config, training, batches)

            def validate(epoch, logs):
                figures = texts.measure(config, model, "validation")
                logs |= {f"val_{name}": figure for name, figure in figures.items()}

            watch = keras.callbacks.LambdaCallback(on_epoch_end=validate)
            return training, model, fitting.with_averaged_weights(watch)

        training, model, watch = build(config)
        run.fit(training, batches, monitor="val_f1", mode="max", callbacks=watch)
        scores = texts.measure(config, model, "test")
        baselines = {}
        if config.baselines:
            baselines = simple.baselines(data, config.metric, seed=config.seed)
            sides = {"context_to_question": False, "question_to_context": False}
            training, alike, watch = build(dataclasses.replace(config, **sides))
            batches = texts.batches(config, shuffle_seed=config.seed)
            run.fit_baseline("without attention", training, batches, callbacks=watch)
            baselines["the same without attention"] = texts.measure(config, alike, "test")
        records.show_scores(scores, baselines)
        forms = passages.export(model, run.path, texts, config)
        run.publish(
            model, data, title="Question answering", scores=scores, baselines=baselines,
            exports=forms, card=card(config), plot="f1",
            details={name: getattr(config, name) for name in answered.DETAILS},
            maps=questions.maps_of(config, model, data.test, texts.tokens),
        )  # fmt: skip


def card(config):
    """The words of the model card."""
    return answered.card(config)


def predict(config):
    """Answer questions about a passage, and show what was looked at."""
    read = answered.Reader.load(config.folder, NAME, FORMS[config.form])
    answered.answer(config, read)


def explain(config):
    """Test whether the weights of a trained model explain where answers begin, and write a page."""
    questions.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
