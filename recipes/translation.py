"""Translation: an encoder, and a decoder that looks back at every word while it writes.

Trains a translator from one language to another on pairs of sentences, and exports it as a
SavedModel and as TFLite files that take raw text or ids. `predict` translates, and draws which word
of the sentence the model looked at while it wrote each word of the translation.

Models. `--architecture recurrent`: a bidirectional GRU reads the sentence; a GRU writes, and at
each step averages the reader's states with weights that say where it looks. `--attention` chooses
how: `bahdanau` (additive, asked before the step), `luong` (general, asked after it, fed to the
next), `local` (Luong's local-p: near one predicted place), `location` (additive, and sees where it
looked before), or `none`: the decoder gets the mean of the states at every step, the whole sentence
in one vector. `--architecture transformer`: pre-norm blocks on both sides. Both read and write word
pieces, share the table of the written pieces with the output layer, keep a moving average of the
weights, and search with a beam and a length penalty.

Data: "toy" (a made-up language that says everything in reverse order; generated, offline), a folder
with train.csv and test.csv (also tsv, jsonl, gzip; a column a language), or a set of TensorFlow
Datasets with a text for each language, such as "tfds:ted_hrlr_translate/pt_to_en".

    python -m recipes.translation train --data toy
    python -m recipes.translation train --data FOLDER --source de --target en
    python -m recipes.translation predict saved_models/translation "Ein Mann schläft." --png why.png

References: Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473; Luong et al., 2015,
https://arxiv.org/abs/1508.04025; Chorowski et al., 2015, https://arxiv.org/abs/1506.07503; Vaswani
et al., 2017, https://arxiv.org/abs/1706.03762. GRUs and a tied output layer in place of LSTMs and
maxout; figures on real data, with time and machine, stand in the README.
"""

import dataclasses
import functools
import sys
from pathlib import Path

import numpy as np

from recipes.baselines import lexicon
from recipes.data import pairs as translation_data
from recipes.kit import errors, exports, fitting, flags, records, run_folder
from recipes.kit.errors import UserError
from recipes.kit.flags import argument, option, usual
from recipes.text import detokenize, wordpiece

NAME = "translation"
FORMS = {
    "tflite": "model.tflite",
    "tflite_float16": "model_float16.tflite",
    "tflite_int8": "model_int8.tflite",
    "saved_model": "saved_model",
}
EXACT = ("tflite", "tflite_float16", "saved_model")  # int8 is as good, but words it differently
FILES = ("source_vocabulary.txt", "target_vocabulary.txt", "spacing.txt")
ARCHITECTURES = ("recurrent", "transformer")
ATTENTIONS = ("bahdanau", "luong", "local", "location", "none")
PAD, UNKNOWN, START, END = range(4)
SPECIAL = ("[START]", "[END]")  # after padding and unknown


@dataclasses.dataclass(frozen=True)
class Config:
    """What `train` can be told."""

    data: str = option("toy", "toy, tfds:NAME or a folder with train.* and test.*")
    output: Path = option(Path("saved_models") / NAME, "folder to write")
    source: str = option("de", "column of the language to translate from (toy has its own)")
    target: str = option("en", "column of the language to translate to (toy has its own)")
    architecture: str = option("recurrent", "kind of network", choices=ARCHITECTURES)
    attention: str = option(
        "bahdanau", "how the recurrent decoder looks at the sentence", choices=ATTENTIONS
    )
    half_width: int = option(5, "local attention: word pieces that it sees on each side", low=1)
    units: int | None = usual(256, 64, "size of all vectors", low=8)
    layers: int | None = usual(3, 2, "transformer: blocks on each side", low=1, high=24)
    heads: int = option(4, "transformer: attention heads, which divide the units", low=1)
    feedforward: int | None = usual(512, 128, "transformer: size of the hidden layers", low=8)
    dropout: float | None = usual(0.3, 0.1, "fraction dropped of vectors", low=0.0, high=0.9)
    label_smoothing: float = option(
        0.1, "share of each label that goes to all pieces alike", low=0.0, high=0.9
    )
    vocabulary_size: int | None = usual(
        4000, 1000, "word pieces of each language, at most", low=100, high=100_000
    )
    max_pieces: int = option(
        60, "word pieces of a sentence or a translation, at most", low=8, high=1000
    )
    epochs: int | None = usual(10, 12, "passes over the training pairs, at most", low=1)
    patience: int = option(4, "epochs without a better perplexity before it stops", low=1)
    batch_size: int | None = usual(64, 128, "pairs a training step", low=1)
    learning_rate: float | None = usual(
        0.001, 0.01, "largest step size of Adam, after the warm-up", low=1e-6, high=1.0
    )
    warmup: float = option(
        0.05, "share of all steps in which the step size rises; then it falls", low=0.0, high=0.9
    )
    averaging: float | None = usual(
        0.999, 0.95, "how much of the weights' moving average a step keeps", low=0.0, high=0.9999
    )
    beams: int = option(5, "hypotheses that the search keeps", low=1, high=64)
    length_penalty: float = option(1.0, "how much the search favours length", low=0.0, high=5.0)
    validation_fraction: float = option(
        0.1, "share of the training pairs to validate on, without a file for it", low=0.01, high=0.5
    )
    baselines: bool = option(True, "train the same model without attention too, to compare")
    parity_texts: int = option(500, "test sentences on which the exports are compared", low=1)
    seed: int = option(0, "seed of everything random", low=0)
    mixed_precision: bool = option(False, "compute in 16 bits")
    limit: int | None = option(None, "pairs of each split to use, for a quick look", low=4)
    data_dir: Path | None = option(None, "where TensorFlow Datasets keeps its data")
    tensorboard: Path | None = option(None, "folder for TensorBoard's logs")


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    texts: tuple[str, ...] = argument("texts to read; none: the lines of standard input", nargs="*")
    file: Path | None = option(None, "file with a text a line")
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))
    search: str = option("beam", "how to search", choices=("beam", "greedy"))
    png: Path | None = option(None, "also draw where the model looked, for a single text")


# ------------------------------------------------------------------------------------- train


def load_data(config):
    """The sentence pairs of `--data`."""
    return translation_data.load(
        config.data,
        source_language=config.source,
        target_language=config.target,
        seed=config.seed,
        validation_fraction=config.validation_fraction,
        limit=config.limit,
        data_dir=config.data_dir,
    )


def build_model(config, source_size, target_size, *, attends=True):
    """The translator as it is trained: it predicts each piece from those before it.

    Args:
        config: A `Config`.
        source_size, target_size: Integers, word pieces of the two languages.
        attends: Whether the decoder sees each step of the encoder, or only their mean.

    Returns:
        A model of source ids `(B, S)` and target ids `(B, T)`, which begin with `START`, to logits
        `(B, T, V)`. `decoding` takes it apart to translate.
    """
    import keras
    from keras import layers

    import keras_attention as ka

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    encode = _recurrent_encoder if config.architecture == "recurrent" else _transformer_encoder
    encoder = encode(config, source_size, attends)
    encoded = encoder(source)

    pieces = layers.ReversibleEmbedding(
        target_size,
        config.units,
        embeddings_initializer=_small(config, config.seed),
        name="pieces",
    )
    # Scaled up as in Vaswani's paper: small enough for the output layer, large enough to read.
    x = layers.Rescaling(config.units**0.5, name="scale")(pieces(target))  # (B, T, D)
    if config.architecture == "recurrent":
        x = layers.Dropout(config.dropout, seed=config.seed + 2)(x)
        x = _recurrent_decoder(config)(
            x, encoded["memory"], encoded["first"], memory_mask=encoded["mask"]
        )
    else:
        x = ka.SinusoidalPositionEncoding(name="target_positions")(x)
        x = layers.Dropout(config.dropout, seed=config.seed + 2)(x)
        for number in range(config.layers):
            block = ka.TransformerDecoderBlock(
                config.feedforward,
                config.heads,
                dropout=config.dropout,
                norm_first=True,
                seed=config.seed + 100 + number,
                name=f"decoder_block_{number + 1}",
            )
            x = block(x, encoded["memory"], memory_mask=encoded["mask"])
        x = layers.LayerNormalization(name="decoder_norm")(x)
    x = layers.Dropout(config.dropout, seed=config.seed + 3)(x)
    logits = layers.Activation("linear", dtype="float32", name="logits")(pieces(x, reverse=True))
    return keras.Model({"source": source, "target": target}, logits, name=NAME)


def _recurrent_encoder(config, size, attends):
    """Ids `(B, S)` to the states of both directions `(B, S, 2 D)` and the decoder's first state."""
    import keras
    from keras import layers, ops

    import keras_attention as ka

    source = keras.Input((None,), dtype="int32", name="source")
    mask = ops.not_equal(source, PAD)
    x = layers.Embedding(size, config.units, _small(config, config.seed + 1))(source)
    x = layers.Rescaling(config.units**0.5)(x)  # (B, S, D)
    x = layers.Dropout(config.dropout, seed=config.seed)(x)
    cell = layers.GRUCell(config.units)
    read = ka.ExportableRNN(cell, return_sequences=True, return_state=True)
    memory, forward, backward = layers.Bidirectional(read, name="read")(x, mask=mask)
    memory = layers.Dropout(config.dropout, seed=config.seed + 1)(memory)
    last = ops.concatenate([forward, backward], axis=-1)
    first = layers.Dense(config.units, activation="tanh", name="bridge")(last)
    if not attends:
        memory = _mean(memory, mask)
    return keras.Model(source, {"memory": memory, "first": first, "mask": mask}, name="encoder")


def _transformer_encoder(config, size, attends):
    """Ids `(B, S)` to the steps that the decoder attends to, `(B, S, D)`."""
    import keras
    from keras import layers, ops

    import keras_attention as ka

    source = keras.Input((None,), dtype="int32", name="source")
    mask = ops.not_equal(source, PAD)  # (B, S)
    x = layers.Embedding(size, config.units, _small(config, config.seed + 1))(source)
    x = layers.Rescaling(config.units**0.5)(x)  # (B, S, D)
    x = ka.SinusoidalPositionEncoding()(x)
    x = layers.Dropout(config.dropout, seed=config.seed)(x)
    for number in range(config.layers):
        block = ka.TransformerEncoderBlock(
            config.feedforward,
            config.heads,
            dropout=config.dropout,
            norm_first=True,
            seed=config.seed + 200 + number,
            name=f"encoder_block_{number + 1}",
        )
        x = block(x, mask=mask)
    memory = layers.LayerNormalization(name="encoder_norm")(x)
    if not attends:
        memory = _mean(memory, mask)
    return keras.Model(source, {"memory": memory, "mask": mask}, name="encoder")


def _small(config, seed):
    import keras

    return keras.initializers.RandomNormal(stddev=config.units**-0.5, seed=seed)


def _mean(memory, mask):
    """The mean of all steps in the place of each: whatever attends to them sees one vector."""
    from keras import ops

    counts = ops.expand_dims(ops.cast(mask, memory.dtype), -1)  # (B, S, 1)
    number = ops.maximum(ops.sum(counts, axis=1, keepdims=True), 1.0)
    mean = ops.sum(memory * counts, axis=1, keepdims=True) / number  # (B, 1, D)
    return mean + ops.zeros_like(memory)


def _recurrent_decoder(config):
    from keras import layers

    import keras_attention as ka

    attention, order = {
        "bahdanau": (lambda: ka.ContentAttention(ka.AdditiveScore(config.units)), "bahdanau"),
        "luong": (lambda: ka.ContentAttention("general"), "luong"),
        "local": (lambda: ka.LocalAttention(config.half_width, "general"), "luong"),
        "location": (
            lambda: ka.LocationSensitiveAttention(config.units, filters=16, kernel_size=5),
            "bahdanau",
        ),
        "none": (lambda: ka.ContentAttention("general"), "luong"),  # to the same everywhere
    }[config.attention]
    return ka.AttentionDecoder(
        layers.GRUCell(config.units),
        attention(),
        attention_size=config.units,
        order=order,
        name="decoder",
    )


def decoding(model, max_length):
    """Takes a trained model apart, for a search.

    Args:
        model: What `build_model` returned.
        max_length: Integer, the most pieces that are to be decoded.

    Returns:
        The functions `start(source) -> state` and `step(token, state) -> logits, state`, for ids
        `(B, S)` with their end and tokens `(B,)`.
    """
    from keras import ops

    encoder, pieces, scale = map(model.get_layer, ("encoder", "pieces", "scale"))
    # No translation holds these. The number is one that 16 bits can hold.
    barred = np.zeros(pieces.input_dim, "float32")
    barred[[PAD, UNKNOWN, START]] = -3e4

    def logits(x):
        return ops.cast(pieces(x, reverse=True), "float32") + barred

    if "decoder" in [layer.name for layer in model.layers]:
        decoder = model.get_layer("decoder")

        def start(source):
            encoded = encoder(source, training=False)
            return decoder.initial_state(encoded["memory"], encoded["mask"], encoded["first"])

        def step(token, state):
            output, _, state = decoder.step(scale(pieces(token)), state)
            return logits(output), state

        return start, step

    blocks = [layer for layer in model.layers if layer.name.startswith("decoder_block")]
    positions, norm = map(model.get_layer, ("target_positions", "decoder_norm"))

    def start(source):
        encoded = encoder(source, training=False)
        memory, mask = encoded["memory"], encoded["mask"]
        batch = ops.shape(source)[0]
        caches = [block.initial_cache(batch, max_length, memory, mask) for block in blocks]
        return {"caches": caches, "index": ops.zeros((), "int32")}

    def step(token, state):
        index, caches = state["index"], []
        x = scale(pieces(ops.expand_dims(token, 1)))  # (B, 1, D)
        x = positions(x, start_index=index)
        for block, cache in zip(blocks, state["caches"], strict=True):
            x, cache = block.step(x, cache, index)
            caches.append(cache)
        return logits(norm(x)[:, 0]), {"caches": caches, "index": index + 1}

    return start, step


def search(model, ids, *, max_length, beams, length_penalty=0.0):
    """The best translation that a search finds: ids `(B, max_length)` without their end.

    Args:
        model: What `build_model` returned.
        ids: int32 `(B, S)`, pieces of sentences, padded at the end. Beyond `max_length` nothing is
            read; where there is no piece there is no translation.
        max_length: Integer, the most pieces of a translation.
        beams: Integer, how many hypotheses are kept; 1 for greedy search.
        length_penalty: As in `ka.beam_search`.
    """
    from keras import ops

    import keras_attention as ka

    ids = ids[:, :max_length]
    lengths = ops.sum(ops.cast(ops.not_equal(ids, PAD), "int32"), axis=1, keepdims=True)  # (B, 1)
    ids = ops.pad(ids, [[0, 0], [0, 1]])
    places = ops.expand_dims(ops.arange(ops.shape(ids)[1], dtype="int32"), 0)
    ids = ops.where(ops.equal(places, lengths), END, ids)
    start, step = decoding(model, max_length)
    if beams == 1:
        tokens, _, _ = ka.greedy_search(step, START, start(ids), max_length, END)
    else:
        tokens, _, _ = ka.beam_search(
            step,
            START,
            start(ids),
            max_length,
            END,
            num_beams=beams,
            length_penalty=length_penalty,
        )
        tokens = tokens[:, 0]
    is_text = ops.logical_and(ops.not_equal(tokens, END), lengths > 0)
    return ops.where(is_text, tokens, PAD)


def searcher(config, beams):
    """A function of a model that returns its search, compiled once: ids to ids, as in `search`."""
    import tensorflow as tf

    def of(model):
        return functools.partial(
            search,
            model,
            max_length=config.max_pieces,
            beams=beams,
            length_penalty=config.length_penalty,
        )

    @functools.cache
    def compiled(model):
        # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
        traced = tf.function(of(model), autograph=False)
        return traced.get_concrete_function(tf.TensorSpec((None, None), tf.int32))

    # An export traces it anew: what was compiled for use here may go in blocks.
    return lambda model: of(model) if tf.inside_function() else compiled(model)


def translate(run, ids, rows=32):
    """Translations of many sentences, a list of id arrays, `rows` of like length at a time.

    Args:
        run: What a `searcher` returned for a model.
        ids: List of int32 arrays.
        rows: Integer.
    """
    import tensorflow as tf

    found = [None] * len(ids)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for first in range(0, len(order), rows):
        part = order[first : first + rows]
        words = run(tf.constant(_padded([ids[row] for row in part]))).numpy()
        for row, found_ids in zip(part, words, strict=True):
            found[row] = found_ids[found_ids != PAD]
    return found


def _padded(rows):
    width = max(1, *map(len, rows))
    return np.array([np.pad(row, (0, width - len(row))) for row in rows], "int32")


def compile_model(config, model, steps):
    """Loss, optimizer and metrics. `steps` are those of the whole training."""
    import keras

    import keras_attention as ka

    rate = fitting.rise_and_fall(config.learning_rate, steps, config.warmup)
    model.compile(
        keras.optimizers.Adam(
            rate, beta_2=0.98, global_clipnorm=1.0, use_ema=True, ema_momentum=config.averaging
        ),
        ka.SequenceCrossentropy(config.label_smoothing, ignore_class=PAD, from_logits=True),
        metrics=[ka.Perplexity(ignore_class=PAD, from_logits=True)],
    )
    # Now, as within the first step it would make that step be traced twice.
    model.optimizer.build(model.trainable_variables)


def fit(config, model, batches, callbacks):
    """Trains on the training pairs, watched on the validation pairs."""
    model.fit(
        batches["train"],
        validation_data=batches["validation"],
        epochs=config.epochs,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )


class Languages:
    """Word pieces of both languages, and the way back from them to text.

    Attributes:
        source, target: Lists of pieces.
        spacing: `detokenize.Spacing` of the target.
        readers: Tokenizers of source and target.
    """

    def __init__(self, source, target, spacing):
        self.source, self.target, self.spacing = source, target, spacing
        self.readers = [wordpiece.fast_tokenizer(pieces, cased=True) for pieces in (source, target)]

    @classmethod
    def learn(cls, split, size):
        """Learns them from the training split."""
        pieces = [
            wordpiece.learn_vocabulary(texts, size, cased=True, special=SPECIAL)
            for texts in (split.sources, split.targets)
        ]
        return cls(*pieces, detokenize.Spacing.learn(split.targets))

    def ids(self, split):
        """Ids of a split's sources and of its targets."""
        return [
            wordpiece.tokenize(reader, texts)
            for reader, texts in zip(self.readers, (split.sources, split.targets), strict=True)
        ]

    def text(self, ids):
        """The text of a translation's ids."""
        return self.spacing.to_text([self.target[number] for number in ids])

    def files(self):
        """What a phone needs to read and write: file name to lines."""
        return {
            "source_vocabulary.txt": self.source,
            "target_vocabulary.txt": self.target,
            "spacing.txt": self.spacing.dumps().split("\n")[:-1],
        }

    @classmethod
    def load(cls, folder):
        """Reads what `files` names."""
        source, target, spacing = ((folder / name).read_text(encoding="utf-8") for name in FILES)
        return cls(
            source.split("\n")[:-1], target.split("\n")[:-1], detokenize.Spacing.loads(spacing)
        )


def make_batches(config, ids, *, epoch=0):
    """Batches to train and to validate on, of the pairs that are short enough."""
    from recipes.data.pair_batches import PairBatches, widths

    pairs = {}
    for part in ("train", "validation"):
        ended = [[np.append(row, END).astype("int32") for row in rows] for rows in ids[part]]
        fits = [max(map(len, pair)) <= config.max_pieces for pair in zip(*ended, strict=True)]
        if not any(fits):
            raise UserError(
                f"Expected pairs to {'train' if part == 'train' else 'validate'} of at most "
                f"--max-pieces {config.max_pieces} pieces. Received: none"
            )
        if not all(fits):
            left = len(fits) - sum(fits)
            print(f"{left:,} {part} pairs of more than {config.max_pieces} pieces are left out")
        pairs[part] = [
            [row for row, is_short in zip(rows, fits, strict=True) if is_short] for rows in ended
        ]
    # XLA compiles each width, which some batches alone would not pay for.
    batches = len(pairs["train"][0]) // config.batch_size
    common_widths = widths(*pairs["train"], count=min(8, max(1, batches // 16)))
    return {
        part: PairBatches(
            *pairs[part],
            min(config.batch_size, len(pairs["train"][0])),
            start=START,
            widths=common_widths,
            shuffle_seed=config.seed if part == "train" else None,
            epoch=epoch,
        )
        for part in pairs
    }


def bleu(translations, references):
    """BLEU of translations, lists of strings, and sacrebleu's signature of how it was measured."""
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    score = metric.corpus_score(translations, [references]).score
    return score, str(metric.get_signature())


def train(config):
    """Train a translator, measure it beside its baselines, and export it."""
    with run_folder.RunFolder(config.output, recipe=NAME) as run:
        wordpiece.tensorflow_text()
        data = load_data(config)
        print(data)
        config = flags.settle(config, len(data.train))
        if config.architecture == "transformer" and config.units % config.heads:
            raise UserError(
                f"--heads must divide --units. Received: {config.heads} and {config.units}"
            )
        run.start(config, data=data.fingerprint)
        _train(config, data, run)


def _train(config, data, run):
    import keras

    fitting.set_up_keras(config.seed, mixed_precision=config.mixed_precision)
    languages = Languages.learn(data.train, config.vocabulary_size)
    sizes = len(languages.source), len(languages.target)
    print(f"{sizes[0]:,} word pieces to read and {sizes[1]:,} to write")
    ids = {part: languages.ids(getattr(data, part)) for part in ("train", "validation", "test")}
    batches = make_batches(config, ids, epoch=run.epochs_done)

    attends = config.attention != "none" or config.architecture == "transformer"
    model = build_model(config, *sizes, attends=attends)
    compile_model(config, model, config.epochs * len(batches["train"]))
    callbacks = fitting.training_callbacks(
        run,
        monitor="val_perplexity",
        mode="min",
        patience=config.patience,
        use_average=True,
        tensorboard=config.tensorboard,
    )
    if not run.is_trained:
        fit(config, model, batches, callbacks)
    fitting.load_best_weights(model, run)
    minutes = run.minutes
    # To be used, and saved without what the optimizer remembers, three times its size.
    model = keras.Model(model.input, model.output, name=NAME)

    beam, greedy = searcher(config, config.beams), searcher(config, 1)

    def measure(run):
        found = translate(run, ids["test"][0])
        return bleu([languages.text(row) for row in found], data.test.targets)

    score, signature = measure(beam(model))
    scores = {"BLEU": score, "BLEU, greedy": measure(greedy(model))[0]}
    baselines = _baselines(data, languages)
    if config.baselines and attends:
        print("The same without attention:")
        alone = build_model(config, *sizes, attends=False)
        _train_baseline(config, alone, make_batches(config, ids))
        baselines["the same, the sentence as one vector"] = measure(beam(alone))[0]
    for name, value in {"this model": score, **baselines}.items():
        print(f"test BLEU {value:.2f}  {name}")
    print(signature)

    model.save(run.path / "model.keras")
    forms = _export(config, model, (beam, greedy), data, ids, languages, run.path)
    records.plot_history(run.history, run.path / "history.png", metric="perplexity")
    example = translate(beam(model), ids["test"][0][:1])[0]
    figure = alignment_figure(model, data.test.sources[0], languages.text(example), languages)
    figure.savefig(run.path / "alignment.png")
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
        details={"bleu": signature},
    )
    records.write_model_card(
        run.path, title="Translation", sections=_card(config, data, signature), metrics=metrics
    )
    run.finish()


def _baselines(data, languages):
    """BLEU without a network: word for word, and the translation of the most alike sentence."""
    train, test = data.train, data.test
    dictionary = lexicon.Lexicon(train.sources, train.targets)
    word_for_word = [languages.spacing.to_text(dictionary.translate(text)) for text in test.sources]
    alike = lexicon.Memory(train.sources, train.targets).translate(test.sources)
    return {
        "word for word (IBM model 1)": bleu(word_for_word, test.targets)[0],
        "most alike training sentence": bleu(alike, test.targets)[0],
    }


def _train_baseline(config, model, batches):

    compile_model(config, model, config.epochs * len(batches["train"]))
    stop = fitting.baseline_callbacks("val_perplexity", "min", config.patience)
    fit(config, model, batches, stop)


# ------------------------------------------------------------------------------------ export


def _export(config, model, searches, data, ids, languages, folder):
    """Writes all forms; returns for each its size, time and agreement with the Keras model."""
    import tensorflow as tf

    import keras_attention as ka

    joiner = detokenize.TextJoiner(languages.target, languages.spacing, config.max_pieces)
    reader = languages.readers[0]

    def from_text(compiled):
        def read(model, text):
            ids = reader.tokenize(text).to_tensor()
            is_read = tf.cast(tf.not_equal(ids[:, : config.max_pieces], PAD), tf.int32)
            return {
                "translation": joiner(compiled(model)(ids)),
                "pieces_read": tf.reduce_sum(is_read, axis=1),
            }

        return read

    def from_ids(compiled):
        return lambda model, ids: {"ids": compiled(model)(ids)}

    beam, greedy = searches
    count = min(config.parity_texts, len(data.test))
    texts = tf.data.Dataset.from_tensor_slices(data.test.sources[:count]).batch(1)
    rows = exports.one_by_one(ids["test"][0][:count])
    text = {"text": ((None,), "string")}
    resources = {"resources": [reader, joiner.detokenizer], "text": True}
    return exports.export(
        model,
        folder,
        formats=list(FORMS),
        signatures=[
            ka.Signature("text", from_text(beam), text, texts, decision="translation", **resources),
            ka.Signature(
                "text_greedy", from_text(greedy), text, texts, decision="translation", **resources
            ),
            ka.Signature(
                "ids",
                from_ids(greedy),
                {"ids": ((None, None), "int32")},
                rows,
                decision=_whole_rows,
            ),
        ],
        bounds={
            form: {"difference": None, "agreement": 0.98 if form in EXACT else 0.5}
            for form in (*FORMS, "float32_rebuild")
        },
        files=languages.files(),
        timed={"milliseconds": "text", "milliseconds_greedy": "text_greedy"},
    )


def _whole_rows(outputs):
    """A translation agrees as a whole or not at all."""
    return np.array([row.tobytes() for row in outputs["ids"]], dtype=object)


def _card(config, data, signature):
    """The words of the model card."""
    source, target = data.source_language, data.target_language
    kind = (
        f"recurrent, attention: {config.attention}"
        if config.architecture == "recurrent"
        else "transformer"
    )
    return {
        "What it does": (
            f"Translates single sentences from {source} to {target} ({kind}). BLEU is sacrebleu's, "
            f"with beams of {config.beams} and a length penalty of {config.length_penalty:g}: "
            f"`{signature}`.\n\n![Where it looked](alignment.png)"
        ),
        "Data and licence": "\n\n".join(
            [data.description, data.licence, *(f"Note: {note}." for note in data.notes)]
        ),
        "Limits": (
            "It knows the words, subjects and style of its training sentences. Of other text it "
            "makes fluent sentences that say something else: nobody should act on a translation "
            f"that nobody has checked. It reads at most {config.max_pieces} word pieces and takes "
            "several sentences for one. What it looked at while it wrote a word is often, not "
            "always, the word that is translated."
        ),
        "How to use": (
            f'    python -m recipes.{NAME} predict FOLDER "A text"\n\n'
            "Each form has three signatures. `text` takes raw text and searches with beams, "
            "`text_greedy` takes the best piece at each step; both need tensorflow-text's "
            "operators. `ids` takes and gives word pieces, searches greedily, and runs in any "
            "interpreter; what it needs lies in the TFLite files themselves (they are also zip "
            "archives): `source_vocabulary.txt`, `target_vocabulary.txt`, and `spacing.txt`, which "
            "tells which marks cling to the words around them. `saved_model` loads after `import "
            "tensorflow_text`."
        ),
    }


# ----------------------------------------------------------------------------------- predict


def predict(config):
    """Translate texts, and draw where the model looked."""
    run_folder.find_run(config.folder, recipe=NAME, files=[FORMS[config.form], *FILES])
    texts = flags.given_or_read(config.texts, config.file, "texts")
    if config.png and len(texts) > 1:
        raise UserError(f"--png draws a single text. Received: {len(texts)}")
    try:
        languages = Languages.load(config.folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise errors.cannot_load(config.folder / FILES[0], error) from error
    run = exports.text_runner(
        config.folder / FORMS[config.form], "text" if config.search == "beam" else "text_greedy"
    )
    for text in texts:
        found = run([text])
        for note in _notes(text, languages, found["pieces_read"][0]):
            print(f"Note: {note}", file=sys.stderr)
        translation = found["translation"][0].decode()
        print(translation, flush=True)
    if config.png:
        _draw(config, texts[0], translation, languages)


def _notes(text, languages, pieces_read):
    """What a reader of the translation should know about the text."""
    pieces, as_target = (wordpiece.tokenize(reader, [text])[0] for reader in languages.readers)
    if pieces_read < len(pieces):
        yield f"only the first {pieces_read} of the text's {len(pieces)} word pieces are read"
    if UNKNOWN in pieces:
        yield f"{np.mean(pieces == UNKNOWN):.0%} of the text's word pieces are unknown to the model"
    # A foreign language is cut into many small pieces, or has none.
    read, written = (len(ids) + 4 * np.sum(ids == UNKNOWN) for ids in (pieces, as_target))
    if len(as_target) > 4 and read > 1.4 * written:
        yield f"this looks like the language to translate into, not from: {text[:40]!r}"


def _draw(config, text, translation, languages):
    """Writes the picture of where the model looked while it wrote the translation."""
    import keras

    import keras_attention  # noqa: F401  (makes its layers known to Keras)

    try:
        model = keras.models.load_model(config.folder / "model.keras", compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise errors.cannot_load(config.folder / "model.keras", error) from error
    figure = alignment_figure(model, text, translation, languages)
    try:
        figure.savefig(config.png)
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot write --png {config.png}: {error}") from error


def alignment_figure(model, text, translation, languages):
    """The picture of `alignment`: words of the translation down the side."""
    import keras_attention as ka

    weights, words, source_words = alignment(model, text, translation, languages)
    return ka.plot_alignment(weights, words, source_words)


def alignment(model, text, translation, languages):
    """How much the model looked at each word while it wrote each word of a translation.

    The attention weights of the decoder, in the transformer those of its last block but one,
    averaged over the heads; the pieces of a word are taken together.

    Returns:
        Weights `(T, S)`, and two lists: T words of the translation and S of the text. Both end with
        the end of the sentence.
    """
    import keras_attention as ka

    rows = [
        np.append(wordpiece.tokenize(reader, [one])[0], END)
        for reader, one in zip(languages.readers, (text, translation), strict=True)
    ]
    source, target = rows
    given = np.insert(target[:-1], 0, START)
    maps = ka.attention_maps(model, {"source": source[None], "target": given[None]})
    if "decoder" in maps:
        weights = maps["decoder"][0]
    else:
        blocks = [name for name in maps if name.startswith("decoder_block")]
        weights = maps[[name for name in blocks if name.endswith("memory")][-2:][0]][0].mean(0)
    words, starts = _join(target, languages.target)
    source_words, source_starts = _join(source, languages.source)
    weights = np.add.reduceat(weights, source_starts, axis=1)
    counts = np.diff([*starts, len(target)])
    return np.add.reduceat(weights, starts, axis=0) / counts[:, None], words, source_words


def _join(ids, vocabulary):
    """Words of pieces, and the piece at which each starts."""
    words, starts = [], []
    for place, number in enumerate(ids):
        piece = vocabulary[number]
        if piece.startswith("##") and words:
            words[-1] += piece[2:]
        else:
            words.append("(end)" if number == END else piece)
            starts.append(place)
    return words, starts


if __name__ == "__main__":
    sys.exit(flags.command_line(__doc__, train=(Config, train), predict=(PredictConfig, predict)))
