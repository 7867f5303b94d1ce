"""Language modelling: what comes next in a text, one character or piece of a word after another.

Trains a language model on texts and exports it as a SavedModel and as TFLite files. `predict`
continues a text as it is written; the files generate with a cache, and the SavedModel draws too.

Models. `--architecture transformer`: pre-norm blocks of causal self-attention. `--position` says
what they know of the order: `rotary` (queries and keys are rotated), `alibi` (a penalty for
distance), `sinusoidal` or `learned` (vectors added to the tokens). `--architecture recurrent`: a
GRU that attends to its own last `--window` states, with projections of them as keys and values.
Documents are packed into rows of `--context` tokens, and none looks across its border. What is kept
is a moving average of the weights.

Data: "toy" (texts of which each line repeats the one before; generated, offline); a folder with
train.txt and valid.txt or test.txt, each one document, or folders of these names with a document
per file, or csv, tsv or jsonl tables with a column text (all also gzip); or a set of TensorFlow
Datasets with a text, such as "tfds:tiny_shakespeare".

    python -m recipes.language_modeling train --data toy
    python -m recipes.language_modeling train --data FOLDER --position alibi --minutes 20
    python -m recipes.language_modeling predict saved_models/language_modeling "Once" --length 500
    python -m recipes.language_modeling explain saved_models/language_modeling

Score: 1.4608 nats a character on Tiny Shakespeare after ten minutes on two cores by a GRU (`--size
320`), 1.5317 by a transformer (n-grams of seven characters, Kneser-Ney: 1.5166).

References: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762; Su et al., 2021 (rotary),
https://arxiv.org/abs/2104.09864; Press et al., 2022 (ALiBi), https://arxiv.org/abs/2108.12409;
Daniluk et al., 2017 (attention to past states), https://arxiv.org/abs/1702.04521. There a state
does not attend to itself; here to itself as well.
"""

import dataclasses
import sys
from pathlib import Path

from recipes.baselines.kneser_ney import KneserNey
from recipes.data import corpora
from recipes.kit import explaining, exports, fitting, flags, records, run_folder
from recipes.kit.errors import UserError
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, default, option, size_dependent
from recipes.kit.running import Run
from recipes.maps import continuations
from recipes.parts import continuation
from recipes.text import tokens
from recipes.text.tokens import BORDER, PAD

NAME = "language_modeling"
OF_TEXT = {"below": 500_000, "unit": "characters"}  # what defaults depend on


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told; its examples are characters."""

    # Data.
    data: str = option("toy", "toy, tfds:NAME or a folder with train.* and valid.* or test.*")
    output: Path = default(Path("saved_models") / NAME)
    limit: int | None = option(None, "characters of each split to use, for a quick look", low=500)
    text_column: str = option("text", "column of the text in tables")
    tokens: str = option(
        "characters", "characters, or subwords by byte-pair encoding", choices=tokens.KINDS
    )
    vocabulary_size: int = option(2000, "subwords of pieces, at most", low=259, high=50_000)
    context: int | None = size_dependent(
        256, 64, "tokens that the model sees at most", **OF_TEXT, low=8, high=4096
    )
    # Network.
    architecture: str = option(
        "transformer", "kind of network", choices=("transformer", "recurrent")
    )
    position: str = option(
        "rotary", "position encoding of the transformer",
        choices=("rotary", "alibi", "sinusoidal", "learned"),
    )  # fmt: skip
    window: int = option(64, "recurrent: states that each one attends to", low=1)
    size: int | None = size_dependent(160, 48, "embedding and hidden size", **OF_TEXT, low=8)
    layers: int | None = size_dependent(4, 2, "transformer: blocks", **OF_TEXT, low=1, high=48)
    heads: int | None = size_dependent(
        5, 3, "attention heads, which divide the size", **OF_TEXT, low=1
    )
    dropout: float | None = size_dependent(0.1, 0.0, "dropout rate", **OF_TEXT, low=0.0, high=0.9)
    # Training.
    epochs: int | None = size_dependent(25, 8, **OF_TEXT)
    minutes: float | None = option(
        None, "train so long instead of --epochs, unless --patience ends it before", low=0.01
    )
    patience: int = default(5)
    batch_size: int | None = size_dependent(
        8, 16, "rows of --context tokens per step", **OF_TEXT, low=1
    )
    learning_rate: float | None = size_dependent(0.003, 0.01, **OF_TEXT)
    warmup: float = option(
        0.03, "warm-up fraction: share of all steps in which the rate rises; then it falls",
        low=0.0, high=0.9,
    )  # fmt: skip
    weight_decay: float = option(0.1, "weight decay of AdamW", low=0.0, high=1.0)
    averaging: float = default(0.995)
    baselines: bool = option(True, "train the same model without attention too, to compare")
    # What is written.
    parity_texts: int = option(40, "prompts on which the exports are compared", low=1)
    explained: int = option(50, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig(continuation.PredictConfig):
    """What `predict` can be told."""

    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


def build_model(config, vocabulary_size, *, attends=True):
    """The language model, as `parts.language_model` describes it.

    Args:
        config: A `Config`.
        vocabulary_size: Integer V.
        attends: Whether a step weighs the steps before it, or takes their mean.

    Returns:
        A model of `tokens` and `segment_ids` `(B, T)` to logits `(B, T, V)` of each next token.
    """
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import language_model

    def attention(**kwargs):
        # Weights without dropout: it costs a third of the time.
        normalizer = "softmax" if attends else "uniform"
        size = config.size // config.heads
        return ka.MultiHeadAttention(config.heads, size, normalizer=normalizer, **kwargs)

    given = {n: keras.Input((None,), dtype="int32", name=n) for n in ("tokens", "segment_ids")}
    segment_ids = given["segment_ids"]
    small = keras.initializers.RandomNormal(stddev=config.size**-0.5, seed=config.seed)
    embed = layers.ReversibleEmbedding(
        vocabulary_size, config.size, small, reverse_dtype="float32", name="embed"
    )
    # Scaled up: small enough for the output layer, large enough to read.
    x = layers.Rescaling(config.size**0.5, name="scale")(embed(given["tokens"]))  # (B, T, D)
    if config.architecture == "recurrent":
        cell = language_model.ResettingCell(layers.GRUCell(config.size))
        read = ka.ExportableRNN(cell, return_sequences=True, return_state=True, name="read")
        x = layers.Dropout(config.dropout, seed=config.seed)(x)
        x = ops.concatenate([x, ops.cast(language_model.begins(segment_ids), x.dtype)], axis=-1)
        states, _ = read(x)
        attend = attention(window=config.window, name="attention")
        past = attend(states, states, segment_ids=segment_ids, use_causal_mask=True)
        combine = layers.Dense(config.size, activation="tanh", name="combine")
        x = layers.Dropout(config.dropout, seed=config.seed + 1)(
            combine(ops.concatenate([states, past], axis=-1))
        )
    else:
        if config.position == "sinusoidal":
            x = ka.SinusoidalPositionEncoding(name="positions")(x)
        elif config.position == "learned":
            x = ka.PositionEmbedding(config.context, small, name="positions")(x)
        x = layers.Dropout(config.dropout, seed=config.seed)(x)
        position = {"rotary": ka.RotaryPositionEmbedding, "alibi": ka.ALiBiScore}
        for number in range(1, config.layers + 1):
            block = ka.TransformerDecoderBlock(
                4 * config.size, activation="gelu", dropout=config.dropout, norm_first=True,
                attention=attention(position=position.get(config.position, lambda: None)()),
                seed=config.seed + 100 + number, name=f"block_{number}",
            )  # fmt: skip
            x = block(x, segment_ids=segment_ids)
    x = layers.LayerNormalization(name="norm")(x)
    logits = embed(x, reverse=True)
    return keras.Model(given, logits, name=NAME)


def compile_model(config, model, batches):
    """Loss, optimizer and metrics."""
    import keras

    import keras_attention as ka

    rate = config.learning_rate  # of a training by time a callback sets it
    if not config.minutes:
        rate = fitting.warmup_cosine(rate, config.epochs * len(batches), config.warmup)
    momentum = fitting.momentum(config.averaging, batches)
    adam = keras.optimizers.AdamW(
        rate, weight_decay=config.weight_decay, beta_2=0.99, global_clipnorm=1.0, use_ema=True,
        ema_momentum=momentum,
    )  # fmt: skip
    adam.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "embeddings"])
    model.compile(
        adam,
        ka.SequenceCrossentropy(ignore_class=PAD, from_logits=True),
        metrics=[ka.Perplexity(ignore_class=PAD, from_logits=True)],
    )


def train(config):
    """Train a language model, measure it beside its baselines, and export it."""
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(corpora.CorpusReader, config).load(config.data)
    config = flags.settle(config, data.examples)
    if config.size % config.heads or config.size // config.heads % 2:
        raise UserError(
            "--heads must divide --size into heads of an even size. "
            f"Received: --heads {config.heads} --size {config.size}"
        )
    if config.minutes:
        config = dataclasses.replace(config, epochs=100_000)
    from recipes.data.batches import StreamBatches
    from recipes.parts import language_model

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        known = tokens.learn(config.tokens, data.train.texts, config.vocabulary_size)
        ids = {n: [known.encode(text) for text in s.texts] for n, s in data.splits.items()}
        print(f"{len(known) - BORDER - 1:,} different {config.tokens}")  # without the marks

        def batches(part, **options):
            return StreamBatches(ids[part], config.batch_size, config.context, BORDER, **options)

        validation = batches("validation")

        def fit(function, *arguments, epoch=0, spent=0.0, **kwargs):
            shuffled = batches("train", shuffle_seed=config.seed, epoch=epoch)
            model = arguments[-1]
            compile_model(config, model, shuffled)
            by_time = (config.learning_rate, config.minutes, config.warmup, spent)
            timed = [fitting.warmup_cosine_by_time(*by_time)] if config.minutes else []
            function(*arguments, shuffled, validation, callbacks=timed, **kwargs)

        def measure(model):
            total = language_model.nats(model, ids["test"], config.context)
            return language_model.figures(data.test, ids["test"], total)

        model = build_model(config, len(known))
        spent = run.minutes if run.epochs_done else 0.0
        fit(run.fit, model, epoch=run.epochs_done, spent=spent, monitor="val_loss", mode="min")
        scores = measure(model)
        grams = KneserNey(ids["train"], len(known), {"characters": 7, "pieces": 3}[config.tokens])
        total = -sum(grams.log_probabilities(document).sum() for document in ids["test"])
        name = f"n-grams of {grams.order} {config.tokens} (Kneser-Ney)"
        baselines = {name: language_model.figures(data.test, ids["test"], total)}
        if config.baselines:
            name = "the same, mean of the steps before"
            alone = build_model(config, len(known), attends=False)
            fit(run.fit_baseline, name, alone)
            baselines[name] = measure(alone)
        records.show_scores(scores, baselines)

        shown = data.test.texts[0][: min(40, config.context - 1)]
        language_model.figure(model, known, shown).savefig(run.path / "attention.png")
        prompts = language_model.prompts(ids["test"], config.context // 2, config.parity_texts)
        forms = language_model.export(model, run.path, known, prompts, config.context)
        run.publish(
            model, data, title="Language model", scores=scores, baselines=baselines,
            exports=forms, card=card(config), plot="perplexity",
            maps=continuations.maps_of(config, model, ids["test"], known),
        )  # fmt: skip


def card(config):
    """The words of the model card."""
    return continuation.card(config)


def predict(config):
    """Continue texts, as they are written."""
    run_folder.find_run(config.folder, recipe=NAME, files=[FORMS[config.form], tokens.FILE])
    known = tokens.load(config.folder)
    continuation.answer(config, known, exports.runner(config.folder / FORMS[config.form], "step"))


def explain(config):
    """Test whether the weights of a trained model explain what it writes next, and write a page."""
    continuations.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
