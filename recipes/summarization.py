"""Summarization: a summary of a document, in words of its own and words that it copies.

Trains a summarizer on documents with summaries, and exports it as a SavedModel and as TFLite files
that take raw text or ids. `predict` summarizes, and tells for each word from which word of the
document it was copied.

Models. `--architecture recurrent`: the pointer-generator network. A bidirectional GRU reads the
document; a GRU writes, and at each step attends to the reader's states. A gate mixes the words of
its vocabulary with those of the document, weighted by the attention: so it can write names that the
vocabulary lacks. Coverage tells the attention where it has looked before, and a loss asks it not to
look there again. `--architecture transformer`: pre-norm blocks on both sides, and an attention of
its own to copy by. Both have one table of words for reader, writer and output layer.

Data: "toy" (reports full of names that stand nowhere else; generated, offline), a folder with
train.csv and test.csv (also tsv, jsonl, gzip; columns document and summary), or a set of TensorFlow
Datasets, such as "tfds:samsum". A document may have several summaries, all of which count.

    python -m recipes.summarization train --data toy
    python -m recipes.summarization train --data FOLDER --max-document 300
    python -m recipes.summarization predict saved_models/summarization --file document.txt
    python -m recipes.summarization explain saved_models/summarization

Score: ROUGE-1, -2 and -L 36.21, 11.38 and 29.29 on DialogSum (three seeds), after 27 minutes on one
core of a server's CPU; 24.58 without attention, 26.94 the first three turns.

Reference: See, Liu & Manning, 2017, https://arxiv.org/abs/1704.04368. GRUs in place of LSTMs, input
feeding, a tied output layer; the coverage loss is there from the start of training, there only at
its end. Paulus, Xiong & Socher, 2018, https://arxiv.org/abs/1705.04304 (no trigram twice).
"""

import dataclasses
import sys
from pathlib import Path

from recipes.baselines import extracts, rouge
from recipes.data import summaries
from recipes.kit import explaining, fitting, flags, records
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, default, option, size_dependent
from recipes.kit.running import Run
from recipes.maps import summaries as summary_maps
from recipes.parts import summarized
from recipes.text.copyable import PAD

NAME = "summarization"


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    output: Path = default(Path("saved_models") / NAME)
    document_column: str | None = option(
        None, "column of the document (default: document, or else dialogue or article)"
    )
    summary_column: str | None = option(
        None, "column of the summary, or several set apart by commas (default: summary, or else "
        "summaries or highlights)",
    )  # fmt: skip
    validation_fraction: float = option(
        0.1, "share of the training documents to validate on, without a file for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    vocabulary_size: int | None = size_dependent(
        8000, 300, "word pieces to learn, at most; whole words among them can be generated",
        low=100, high=100_000,
    )  # fmt: skip
    cased: bool = option(True, "tell capitals from small letters")
    max_document: int = option(
        400, "words of a document that are read; the rest is cut", low=8, high=2000
    )
    max_summary: int = option(
        60, "words of a summary that are learned and written", low=4, high=500
    )
    # Network.
    architecture: str = option("recurrent", "kind of network", choices=("recurrent", "transformer"))
    coverage: float = option(
        1.0, "recurrent: weight of the coverage loss; 0: attention without coverage", low=0.0,
        high=10.0,
    )  # fmt: skip
    units: int | None = size_dependent(128, 48, "size of all vectors", low=8)
    layers: int | None = size_dependent(3, 2, "transformer: blocks on each side", low=1, high=24)
    heads: int = option(4, "transformer: attention heads, which divide the units", low=1)
    feedforward: int | None = size_dependent(
        512, 96, "transformer: size of the hidden layers", low=8
    )
    dropout: float | None = size_dependent(0.3, 0.1, "dropout rate", low=0.0, high=0.9)
    # Training.
    epochs: int | None = size_dependent(10, 12)
    patience: int = default(4)
    batch_size: int | None = size_dependent(32, 32)
    learning_rate: float | None = size_dependent(0.001, 0.01)
    warmup: float = option(
        0.05, "warm-up fraction: share of all steps in which the step size rises; then it falls",
        low=0.0, high=0.9,
    )  # fmt: skip
    averaging: float | None = size_dependent(0.995, 0.95)
    # Search, and what is written.
    beams: int = option(4, "hypotheses in the beam search", low=1, high=64)
    length_penalty: float = option(
        1.0, "exponent by which the search favours long summaries", low=0.0, high=5.0
    )
    no_repeat_ngram: int = option(
        3, "words in a row that are written once only; 0: as often as it comes", low=0, high=20
    )
    baselines: bool = option(True, "train the same model without attention too, to compare")
    compare_coverage: bool = option(
        False, "also train the same model without coverage, to compare how often they repeat"
    )
    parity_texts: int = option(100, "test documents on which the exports are compared", low=1)
    explained: int = option(50, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig(summarized.PredictConfig):
    """What `predict` can be told."""

    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


def build_model(config, known, *, attends=True):
    """The summarizer, once to train and once to use; both share all weights.

    Args:
        config: A `Config`.
        known: Integer, the known words.
        attends: Whether the decoder sees each word of the document, and copies; or their mean.

    Returns:
        Two models of `source`, `target` and `labels`, as `parts.pointer_generator` describes them.
        The model to train gives the log-likelihoods `(B, T)`, the model to use a dict of
        `log_likelihood` and `copied` `(B, T, S)`.
    """
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts.pointer_generator import CopyLikelihood, known_words
    from recipes.parts.seq2seq import mean_everywhere

    names = ("source", "target", "labels")
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    small = keras.initializers.RandomNormal(stddev=config.units**-0.5, seed=config.seed)
    words = layers.ReversibleEmbedding(
        known, config.units, small, reverse_dtype="float32", name="words"
    )
    # Scaled up: small enough for the output layer, large enough to read.
    scale = layers.Rescaling(config.units**0.5, name="scale")

    def drop(x, number):
        return layers.Dropout(config.dropout, seed=config.seed + number)(x)

    def block(kind, number, name=None):
        return kind(
            config.feedforward, config.heads, dropout=config.dropout, norm_first=True,
            seed=config.seed + 100 + number, name=name,
        )  # fmt: skip

    # It takes vectors: Keras cannot load a layer that stands inside of a nested model and outside.
    x = vectors = keras.Input((None, config.units), name="vectors")  # (B, S, D)
    mask = keras.Input((None,), dtype="bool", name="mask")  # (B, S)
    if config.architecture == "recurrent":
        cell = layers.GRUCell(config.units // 2)  # in each direction
        read = ka.ExportableRNN(cell, return_sequences=True, return_state=True)
        memory, forward, backward = layers.Bidirectional(read, name="read")(drop(x, 0), mask=mask)
        last = ops.concatenate([forward, backward], axis=-1)
        first = layers.Dense(config.units, activation="tanh", name="bridge")(last)
        encoded = {"memory": drop(memory, 1), "first": first, "mask": mask}
    else:
        x = drop(ka.SinusoidalPositionEncoding()(x), 0)
        for number in range(config.layers):
            x = block(ka.TransformerEncoderBlock, number)(x, mask=mask)
        encoded = {"memory": layers.LayerNormalization(name="encoder_norm")(x), "mask": mask}
    if not attends:
        encoded["memory"] = mean_everywhere(encoded["memory"], mask)
    encoder = keras.Model([vectors, mask], encoded, name="encoder")
    source, target = inputs["source"], inputs["target"]
    encoded = encoder([scale(words(known_words(source, known))), ops.not_equal(source, PAD)])
    encoded = {part: layers.Identity(name=part)(x) for part, x in encoded.items()}
    memory, mask = encoded["memory"], encoded["mask"]
    given = scale(words(known_words(target, known)))  # (B, T, D)
    weights = gate = None
    if config.architecture == "recurrent":
        attention = ka.ContentAttention(ka.AdditiveScore(config.units))
        if config.coverage and attends:
            attention = ka.CoverageAttention(config.units, loss_weight=config.coverage)
        decoder = ka.AttentionDecoder(
            layers.GRUCell(config.units), attention, attention_size=config.units, name="decoder"
        )
        x, weights = decoder(
            drop(given, 2), memory, encoded["first"], inputs_mask=ops.not_equal(target, PAD),
            memory_mask=mask, return_attention_scores=True,
        )  # fmt: skip
    else:
        x = drop(ka.SinusoidalPositionEncoding(name="target_positions")(given), 2)
        for number in range(1, config.layers + 1):
            name = f"decoder_block_{number}"
            x = block(ka.TransformerDecoderBlock, 100 + number, name)(x, memory, memory_mask=mask)
        x = layers.LayerNormalization(name="decoder_norm")(x)
        if attends:
            copy = ka.ContentAttention("general", name="copy")
            _, weights = copy(x, memory, value_mask=mask, return_attention_scores=True)
    if attends:
        gate = layers.Dense(1, activation="sigmoid", dtype="float32", name="gate")
        gate = gate(ops.concatenate([x, given], axis=-1))
    logits = words(drop(x, 3), reverse=True)
    likelihood, copied = CopyLikelihood(dtype="float32", name="likelihood")(
        logits, source, inputs["labels"], gate, weights
    )
    outputs = {"log_likelihood": likelihood, "copied": copied}
    return keras.Model(inputs, likelihood), keras.Model(inputs, outputs, name=NAME)


def compile_model(config, model, batches):
    """Loss, optimizer and metrics."""
    import keras

    from recipes.parts.pointer_generator import LikelihoodPerplexity, negative_log_likelihood

    rate = fitting.warmup_cosine(config.learning_rate, config.epochs * len(batches), config.warmup)
    momentum = fitting.momentum(config.averaging, batches)
    adam = keras.optimizers.Adam(
        rate, beta_2=0.98, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum
    )
    model.compile(adam, negative_log_likelihood, metrics=[LikelihoodPerplexity(name="perplexity")])


def train(config):
    """Train a summarizer, measure it beside its baselines, and export it."""
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(summaries.SummaryReader, config).load(config.data)
    config = summarized.settle(config, data)  # or an error, before anything is written

    from recipes.parts.summary_texts import Texts

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        texts = Texts.read(config, data)
        search = texts.searcher(config)

        def fit(name=None, config=config, attends=True):
            """Trains a model, that of the run, or with a name one to compare with; writes."""
            batches = texts.batches(config, epoch=0 if name else run.epochs_done)
            training, model = build_model(config, texts.known.known, attends=attends)
            compile_model(config, training, batches["train"])
            if name:
                run.fit_baseline(name, training, **batches)
            else:
                run.fit(training, **batches, monitor="val_perplexity", mode="min")
            written = texts.write(model, search)
            return model, written, rouge.corpus(texts.texts(written), data.test.summaries)

        model, written, scores = fit()
        baselines, models = extracts.baselines(data), {"this model": (model, written)}
        if config.baselines:
            name = "the same without attention"
            baselines[name] = fit(name, attends=False)[2]
        if config.compare_coverage:
            name, plain = "the same without coverage", dataclasses.replace(config, coverage=0.0)
            *models[name], baselines[name] = fit(name, plain)
        records.show_scores(scores, baselines)
        details = {"rouge": rouge.signature(), "max_document": config.max_document}
        details["copies_and_repeats"] = texts.facts(config, models)
        summarized.figure(*texts.traced(model, written)).savefig(run.path / "copied.png")
        run.publish(
            model, data, title="Summarization", scores=scores, baselines=baselines,
            exports=texts.export(config, model, run.path), card=card(config, details),
            plot="perplexity", details=details,
            maps=summary_maps.maps_of(config, model, data.test, texts.known),
        )  # fmt: skip


def card(config, details):
    """The words of the model card."""
    return summarized.card(config, details)


def predict(config):
    """Summarize texts, and tell what was copied from where."""
    summarized.answer(config, summarized.Reader.load(config.folder, NAME, FORMS[config.form]))


def explain(config):
    """Test whether the weights of a trained model explain what it writes next, and write a page."""
    summary_maps.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
