"""Translation: an encoder, and a decoder that looks back at every word while it writes.

Trains a translator from one language to another on pairs of sentences, and exports it as a
SavedModel and as TFLite files that take raw text or ids. `predict` translates, and draws which word
of the sentence the model looked at while it wrote each word of the translation.

Models. `--architecture recurrent`: a bidirectional GRU reads the sentence; a GRU writes, and at
each step averages the reader's states with weights that say where it looks. `--attention` chooses
how: `bahdanau` (additive, asked before the step), `luong` (general, asked after it, fed to the
next), `local` (Luong's local-p: near one predicted position), `location` (additive, and sees where
it looked before), or `none`: the decoder gets the mean of the states at every step, the whole
sentence in one vector. `--architecture transformer`: pre-norm blocks on both sides. Both read and
write word pieces, share the table of the written pieces with the output layer, keep a moving
average of the weights, and search with a beam and a length penalty.

Data: "toy" (a made-up language that says everything in reverse order; generated, offline), a folder
with train.csv and test.csv (also tsv, jsonl, gzip; a column per language), or a set of TensorFlow
Datasets with a text for each language, such as "tfds:ted_hrlr_translate/pt_to_en".

    python -m recipes.translation train --data toy
    python -m recipes.translation train --data FOLDER --source de --target en
    python -m recipes.translation predict saved_models/translation "Ein Mann schläft." --png why.png
    python -m recipes.translation explain saved_models/translation

Score: BLEU 39.2 on Multi30k, German to English, with a beam of 5, after 31.9 minutes on two cores
of a server's CPU; 29.3 without attention, 28.1 word for word. The transformer: 35.5 after 36.3.
Two networks and five kinds of attention stand here, so this story is longer than others.

References: Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473; Luong et al., 2015,
https://arxiv.org/abs/1508.04025; Chorowski et al., 2015, https://arxiv.org/abs/1506.07503; Vaswani
et al., 2017, https://arxiv.org/abs/1706.03762. GRUs and a tied output layer in place of LSTMs and
maxout.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from recipes.baselines import bleu, lexicon
from recipes.data import pairs
from recipes.kit import explaining, exports, fitting, flags, records, run_folder
from recipes.kit.errors import UserError, writing
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, argument, default, option, size_dependent
from recipes.kit.running import Run
from recipes.maps import translations
from recipes.text import languages, wordpiece
from recipes.text.languages import PAD, UNKNOWN, Languages

NAME = "translation"
ARCHITECTURES = ("recurrent", "transformer")
ATTENTIONS = ("bahdanau", "luong", "local", "location", "none")


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    output: Path = default(Path("saved_models") / NAME)
    source: str = option("de", "column of the language to translate from (toy has its own)")
    target: str = option("en", "column of the language to translate to (toy has its own)")
    validation_fraction: float = option(
        0.1, "share of the training pairs to validate on, without a file for it", low=0.01, high=0.5
    )
    vocabulary_size: int | None = size_dependent(
        4000, 1000, "word pieces of each language, at most", low=100, high=100_000
    )
    max_pieces: int = option(
        60, "word pieces of a sentence or a translation, at most", low=8, high=1000
    )
    # Network.
    architecture: str = option("recurrent", "kind of network", choices=ARCHITECTURES)
    attention: str = option(
        "bahdanau", "how the recurrent decoder looks at the sentence", choices=ATTENTIONS
    )
    half_width: int = option(5, "local attention: word pieces that it sees on each side", low=1)
    units: int | None = size_dependent(256, 64, "size of all vectors", low=8)
    layers: int | None = size_dependent(3, 2, "transformer: blocks on each side", low=1, high=24)
    heads: int = option(4, "transformer: attention heads, which divide the units", low=1)
    feedforward: int | None = size_dependent(
        512, 128, "transformer: size of the hidden layers", low=8
    )
    dropout: float | None = size_dependent(0.3, 0.1, "dropout rate", low=0.0, high=0.9)
    # Training.
    label_smoothing: float = option(
        0.1, "share of each label that goes to all pieces alike", low=0.0, high=0.9
    )
    epochs: int | None = size_dependent(10, 12)
    patience: int = default(4)
    batch_size: int | None = size_dependent(64, 128)
    learning_rate: float | None = size_dependent(0.001, 0.01)
    warmup: float = option(
        0.05, "warm-up fraction: share of all steps in which the step size rises; then it falls",
        low=0.0, high=0.9,
    )  # fmt: skip
    averaging: float | None = size_dependent(0.999, 0.95)
    # Search, and what is written.
    beams: int = option(5, "hypotheses in the beam search", low=1, high=64)
    length_penalty: float = option(
        1.0, "exponent by which the search favours long translations", low=0.0, high=5.0
    )
    baselines: bool = option(True, "train the same model without attention too, to compare")
    parity_texts: int = option(500, "test sentences on which the exports are compared", low=1)
    explained: int = option(100, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    texts: tuple[str, ...] = argument("texts to read; none: the lines of standard input", nargs="*")
    file: Path | None = option(None, "file with a text per line")
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))
    search: str = option("beam", "how to search", choices=("beam", "greedy"))
    png: Path | None = option(None, "also draw where the model looked, for a single text")


def load_data(config):
    """The sentence pairs of `--data`."""
    columns = {"source_language": config.source, "target_language": config.target}
    return flags.call(pairs.PairReader, config, **columns).load(config.data)


def build_model(config, source_size, target_size, *, attends=True):
    """The translator as it is trained: it predicts each piece from those before it.

    Args:
        config: A `Config`.
        source_size, target_size: Integers, word pieces of the two languages.
        attends: Whether the decoder sees each step of the encoder, or only their mean.

    Returns:
        A model of source ids `(B, S)` and target ids `(B, T)`, which begin with `START`, to logits
        `(B, T, V)`, as `parts.seq2seq` describes it.
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
    from recipes.parts import seq2seq

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
        memory = seq2seq.mean_everywhere(memory, mask)
    return keras.Model(source, {"memory": memory, "first": first, "mask": mask}, name="encoder")


def _transformer_encoder(config, size, attends):
    """Ids `(B, S)` to the steps that the decoder attends to, `(B, S, D)`."""
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import seq2seq

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
        memory = seq2seq.mean_everywhere(memory, mask)
    return keras.Model(source, {"memory": memory, "mask": mask}, name="encoder")


def _small(config, seed):
    import keras

    return keras.initializers.RandomNormal(stddev=config.units**-0.5, seed=seed)


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


def compile_model(config, model, steps):
    """Loss, optimizer and metrics. `steps` are those of the whole training."""
    import keras

    import keras_attention as ka

    rate = fitting.warmup_cosine(config.learning_rate, steps, config.warmup)
    model.compile(
        keras.optimizers.Adam(
            rate, beta_2=0.98, global_clipnorm=1.0, use_ema=True, ema_momentum=config.averaging
        ),
        ka.SequenceCrossentropy(config.label_smoothing, ignore_class=PAD, from_logits=True),
        metrics=[ka.Perplexity(ignore_class=PAD, from_logits=True)],
    )


def train(config):
    """Train a translator, measure it beside its baselines, and export it."""
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = load_data(config)
    config = flags.settle(config, data.examples)
    if config.architecture == "transformer" and config.units % config.heads:
        raise UserError(f"--heads must divide --units. Received: {config.heads} and {config.units}")
    wordpiece.tensorflow_text()  # or an error, before anything is written
    import keras

    from recipes.parts import alignment, seq2seq

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        sides = Languages.learn(data.train, config.vocabulary_size)
        sizes = len(sides.source), len(sides.target)
        print(f"{sizes[0]:,} word pieces to read and {sizes[1]:,} to write")
        ids = {part: sides.ids(split) for part, split in data.splits.items()}

        def build(attends):
            model = build_model(config, *sizes, attends=attends)
            compile_model(config, model, config.epochs * len(batches["train"]))
            return model

        def search(beams):
            return seq2seq.searcher(beams, config.max_pieces, config.length_penalty)

        beam, greedy = search(config.beams), search(1)

        def measure(search, model):
            written = seq2seq.generate(search(model), ids["test"][0])
            return bleu.corpus([sides.text(row) for row in written], data.test.targets)

        batches = seq2seq.make_batches(config, ids, epoch=run.epochs_done)
        attends = config.attention != "none" or config.architecture == "transformer"
        model = build(attends)
        run.fit(
            model, batches["train"], batches["validation"], monitor="val_perplexity", mode="min"
        )
        # To be used, and saved without what the optimizer remembers, three times its size.
        model = keras.Model(model.input, model.output, name=NAME)

        score, signature = measure(beam, model)
        scores = {"BLEU": score, "BLEU, greedy": measure(greedy, model)[0]}
        baselines = without_network(data, sides)
        if config.baselines and attends:
            name = "the same, the sentence as one vector"
            batches = seq2seq.make_batches(config, ids)
            alone = build(attends=False)
            run.fit_baseline(name, alone, batches["train"], batches["validation"])
            baselines[name] = measure(beam, alone)[0]
        records.show_scores(scores, baselines)
        print(signature)

        first, count = data.test.sources[0], config.parity_texts
        written = sides.text(seq2seq.generate(beam(model), ids["test"][0][:1])[0])
        alignment.figure(model, first, written, sides).savefig(run.path / "alignment.png")
        forms = seq2seq.export(
            model, run.path, sides, searches=(beam, greedy), texts=data.test.sources[:count],
            ids=ids["test"][0][:count], max_pieces=config.max_pieces, name="translation",
        )  # fmt: skip
        run.publish(
            model, data, title="Translation", scores=scores, baselines=baselines, exports=forms,
            card=card(config, data, signature), plot="perplexity", details={"bleu": signature},
            maps=translations.maps_of(config, model, data.test, sides) if attends else (),
        )  # fmt: skip


def without_network(data, sides):
    """BLEU of two baselines: word for word, and the translation of the most alike sentence."""
    train, test = data.train, data.test
    dictionary = lexicon.Lexicon(train.sources, train.targets)
    word_for_word = [sides.spacing.to_text(dictionary.translate(text)) for text in test.sources]
    alike = lexicon.Memory(train.sources, train.targets).translate(test.sources)
    return {
        "word for word (IBM model 1)": bleu.corpus(word_for_word, test.targets)[0],
        "most alike training sentence": bleu.corpus(alike, test.targets)[0],
    }


def card(config, data, signature):
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


def predict(config):
    """Translate texts, and draw where the model looked."""
    run_folder.find_run(config.folder, recipe=NAME, files=[FORMS[config.form], *languages.FILES])
    texts = flags.given_or_read(config.texts, config.file, "texts")
    if config.png and len(texts) > 1:
        raise UserError(f"--png draws a single text. Received: {len(texts)}")
    sides = Languages.load(config.folder)
    signature = "text" if config.search == "beam" else "text_greedy"
    path = config.folder / FORMS[config.form]
    run = exports.runner(path, signature, operators=wordpiece.operators())
    for text in texts:
        if not text.strip():
            print(flush=True)  # a line for each line
            continue
        outputs = run(text=np.array([text.encode()]))
        for note in notes(text, sides, outputs["pieces_read"][0]):
            print(f"Note: {note}", file=sys.stderr)
        translation = outputs["translation"][0].decode()
        print(translation, flush=True)
    if config.png:
        draw(config, texts[0], translation, sides)


def explain(config):
    """Test whether the weights of a trained model explain what it writes next, and write a page."""
    translations.write(config, NAME, Config, load_data)


def notes(text, sides, pieces_read):
    """What a reader of the translation should know about the text."""
    pieces, as_target = (wordpiece.tokenize(reader, [text])[0] for reader in sides.readers)
    if pieces_read < len(pieces):
        yield f"only the first {pieces_read} of the text's {len(pieces)} word pieces are read"
    if UNKNOWN in pieces:
        yield f"{np.mean(pieces == UNKNOWN):.0%} of the text's word pieces are unknown to the model"
    # A foreign language is cut into many small pieces, or has none.
    read, written = (len(ids) + 4 * np.sum(ids == UNKNOWN) for ids in (pieces, as_target))
    if len(as_target) > 4 and read > 1.4 * written:
        yield f"this looks like the language to translate into, not from: {text[:40]!r}"


def draw(config, text, translation, sides):
    """Writes the picture of where the model looked while it wrote the translation."""
    from recipes.parts import alignment

    model = run_folder.load_model(config.folder)
    figure = alignment.figure(model, text, translation, sides)
    with writing("--png", config.png):
        figure.savefig(config.png)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
