"""Document classification: words make sentences, sentences make the document, and both show why.

Trains a classifier of texts of many sentences, by default the subject of letters, and exports it
as a SavedModel and as TFLite files that take raw text or ids. It answers with a label, its
probability, how much each sentence counted, and within each sentence how much each word did.

Model. Every run of one or two word pieces is an n-gram with evidence e_i for each class, which
starts as what all other classes' texts say of it (complement naive Bayes) and is refined in
training. `ka.HierarchicalAttention` averages the evidence's directions e_i / |e_i| twice: over the
n-grams of each sentence, with weights softmax(s_i + log |e_i|), where s_i starts as log idf, is
learned for each n-gram and moved by its context; and over the sentences, with weights softmax(log
of the sentence's total evidence + c_n), where c_n is what a small convolution over the sentences
adds. The sum is scaled by the total evidence. So a sentence's weight times a word's is by
construction the share that the word has in the decision.

Data: "toy" (generated, offline), a folder with train.csv and test.csv (also tsv, jsonl, gzip;
columns text and label), or "tfds:ag_news_subset", "tfds:yelp_polarity_reviews" and the like.

    python -m recipes.document_classification train --data toy
    python -m recipes.document_classification predict saved_models/document_classification \\
        --file letter.txt --html letter.html

In a terminal predict shades sentences and words. In a file or a pipe, or if NO_COLOR is set, it
writes weights: [0.75] before a sentence, (0.12) after a word, where they are a fifth of the largest
or more.

Reference: Yang et al., 2016 (hierarchical attention), https://aclanthology.org/N16-1174; Rennie et
al., 2003 (complement naive Bayes), https://cdn.aaai.org/ICML/2003/ICML03-081.pdf. Yang's recurrent
encoders are left out, as they spread what a word says over its neighbours; figures on real data,
with time and machine, stand in the README.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from recipes.data import texts as text_data
from recipes.data.toy import documents as toy_documents
from recipes.kit import errors, exports, fitting, flags, records, run_folder
from recipes.kit.errors import UserError
from recipes.kit.flags import argument, option
from recipes.text import wordpiece

NAME = "document_classification"
FORMS = {
    "tflite": "model.tflite",
    "tflite_float16": "model_float16.tflite",
    "tflite_int8": "model_int8.tflite",
    "saved_model": "saved_model",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What `train` can be told."""

    data: str = option("toy", "toy, tfds:NAME or a folder with train.* and test.*")
    output: Path = option(Path("saved_models") / NAME, "folder to write")
    epochs: int = option(15, "passes over the training texts, at most", low=1)
    patience: int = option(3, "epochs without a lower validation loss before it stops", low=1)
    batch_size: int = option(32, "texts a training step", low=1)
    learning_rate: float = option(0.003, "step size of Adam", low=1e-6, high=1.0)
    averaging: float = option(
        0.99, "how much of the moving average of the weights a step keeps", low=0.0, high=0.9999
    )
    vocabulary_size: int = option(16_000, "word pieces to learn, at most", low=100, high=100_000)
    order: int = option(2, "word pieces in the longest n-gram", low=1, high=3)
    min_texts: int | None = option(
        None, "texts that must have an n-gram for it to be kept; none: 2, or 5 of many texts", low=1
    )
    max_words: int = option(50, "word pieces in a sentence, which is cut there", low=4)
    max_sentences: int = option(30, "sentences read in training; later all are", low=1)
    embedding_size: int = option(16, "size of a word piece's vector, for the context", low=1)
    dropout: float = option(0.5, "fraction of n-grams hidden in training", low=0.0, high=0.95)
    context_dropout: float = option(
        0.5,
        "fraction of word pieces hidden from the context; dropout within it",
        low=0.0,
        high=0.95,
    )
    validation_fraction: float = option(
        0.1, "share of the training texts to validate on, without a file for it", low=0.01, high=0.5
    )
    baselines: bool = option(True, "train tf-idf and mean pooling too, to compare")
    parity_texts: int = option(200, "test texts on which the exports are compared", low=1)
    seed: int = option(0, "seed of everything random", low=0)
    mixed_precision: bool = option(False, "compute the context in 16 bits")
    limit: int | None = option(None, "texts of each split to use, for a quick look", low=4)
    text_column: str = option("text", "column of the text, or several, such as title,description")
    label_column: str = option("label", "column of the label")
    data_dir: Path | None = option(None, "where TensorFlow Datasets keeps its data")
    tensorboard: Path | None = option(None, "folder for TensorBoard's logs")


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    texts: tuple[str, ...] = argument("documents to read; none: standard input, as one", nargs="*")
    file: Path | None = option(None, "file with a document")
    form: str = option("tflite", "which export to use", choices=tuple(FORMS))
    html: Path | None = option(None, "also write a page with the shaded documents")


# ------------------------------------------------------------------------------------- train


def load_data(config):
    """The labelled texts of `--data`, with marks where paragraphs end."""
    from recipes.text.sentences import mark_paragraphs

    data = text_data.load(
        config.data,
        seed=config.seed,
        validation_fraction=config.validation_fraction,
        limit=config.limit,
        text_column=config.text_column,
        label_column=config.label_column,
        data_dir=config.data_dir,
        toy=toy_documents,
    )
    marked = {
        part: dataclasses.replace(split, texts=[mark_paragraphs(text) for text in split.texts])
        for part, split in data.splits.items()
    }
    return dataclasses.replace(data, **marked)


@dataclasses.dataclass(frozen=True)
class Texts:
    """What the data becomes on its way into the model.

    Attributes:
        vocabulary: List of word pieces.
        ids: Dict of split to a list of int32 arrays, the ids of each text.
        documents: Dict of split to a list of lists of lists: each text's sentences of ids.
        shares: float32 array, what each training text counts in the counts of n-grams.
        keys: int32 `(K,)`, the n-grams.
        counts: float32 `(K, C)`, the sum of shares of each class's texts that have each.
        idf: float32 `(K,)`, their inverse document frequencies.
    """

    vocabulary: list
    ids: dict
    documents: dict
    shares: np.ndarray
    keys: np.ndarray
    counts: np.ndarray
    idf: np.ndarray


def prepare(config, data):
    """Learns word pieces, splits texts into sentences, and counts n-grams."""
    from recipes.parts import ngrams
    from recipes.text import sentences

    is_large = len(data.train) > 50_000
    # The marks that end sentences are pieces, whether or not a training text has them.
    vocabulary = wordpiece.learn_vocabulary(
        [*data.train.texts, f". ! ? {sentences.PARAGRAPH}"],
        config.vocabulary_size,
    )
    tokenizer = wordpiece.fast_tokenizer(vocabulary)
    kinds = sentences.kinds_of(vocabulary)
    ids = {part: wordpiece.tokenize(tokenizer, split.texts) for part, split in data.splits.items()}
    documents = {
        part: [sentences.split(text, kinds, config.max_words) for text in texts]
        for part, texts in ids.items()
    }
    # Long texts have many n-grams: each text counts as much as any other, by its length as vector.
    shares = np.array([max(1, len(text)) ** -0.5 for text in ids["train"]], np.float32)
    separated = [_with_zeros(document) for document in documents["train"]]

    def count(shares=None):
        return ngrams.select(
            separated,
            data.train.labels,
            vocabulary_size=len(vocabulary),
            num_classes=len(data.labels),
            order=config.order,
            min_texts=config.min_texts or (5 if is_large else 2),
            shares=shares,
        )

    texts_with = count()[1].sum(1)
    keys, counts = count(shares)
    idf = np.log((1 + len(data.train)) / (1 + texts_with)) + 1
    print(f"{len(vocabulary):,} word pieces, {len(keys):,} n-grams of up to {config.order}")
    return Texts(vocabulary, ids, documents, shares, keys, counts, idf)


def _with_zeros(document):
    """The ids of a document with a 0 behind each sentence, which no n-gram spans."""
    return np.array([number for sentence in document for number in [*sentence, 0]] or [0], np.int32)


def build_model(config, texts, pooling="attention"):
    """The classifier, once to train and once to use; both share all weights.

    Args:
        config: A `Config`.
        texts: What `prepare` returns.
        pooling: `"attention"`, or `"mean"` for the baseline with equal weights at both levels.

    Returns:
        The model to train: ids `(B, N, W + GAP)` in sentences, own_class and own_share `(B, 1)` to
        probabilities `(B, C)`. The model to use: ids `(B, T)` to a dict of `probability` `(B, C)`;
        `sentences` `(B, N)`, weights that sum to one; `words` `(B, N, W)`, weights that sum to one
        in each sentence; `evidence` `(B, N, C)`, whose sum over the sentences makes the decision;
        and `grid` `(B, N, W)`, the ids in sentences, so that each weight finds its piece.
    """
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts import ngrams
    from recipes.text import sentences

    num_ngrams, num_classes = texts.counts.shape
    vocabulary_size = len(texts.vocabulary)
    width = config.max_words + sentences.GAP
    steps = width * config.order  # S, n-grams in a sentence

    split = sentences.SplitSentences(vocabulary_size, config.max_words, name="split")
    lookup = ngrams.NGramLookup(num_ngrams, vocabulary_size, config.order, name="lookup")
    drop = ngrams.NGramDropout(config.dropout, seed=config.seed, name="ngram_dropout")
    evidence_of = ngrams.ComplementEvidence(
        num_ngrams, num_classes, dtype="float32", name="evidence"
    )
    salience_of = layers.Embedding(num_ngrams + 1, 1, "zeros", dtype="float32", name="salience")
    context = _context(config, vocabulary_size, width)
    attention = ka.HierarchicalAttention(
        word_encoder=None, sentence_encoder=None, score="dot", dtype="float32", name="attention"
    )
    scale = ngrams.EvidenceScale(dtype="float32", name="scale")
    bias = ngrams.Bias(name="bias", dtype="float32")
    to_probability = layers.Softmax(name="probability", dtype="float32")

    def classify(grid, *own):
        flat = layers.Reshape((-1,))(grid)  # (B, N (W + GAP)): no n-gram reaches over the gaps
        rows = layers.Reshape((-1, steps))(drop(lookup(flat)))  # (B, N, S)
        known = ops.greater(rows, 0)
        evidence = evidence_of(layers.Reshape((-1,))(rows), *own)
        evidence = layers.Reshape((-1, steps, num_classes))(evidence)
        if pooling == "attention":
            size = ops.sqrt(ops.sum(ops.square(evidence), axis=-1) + 1e-6)  # (B, N, S)
            word_context, sentence_context = context(flat)
            salience = ops.squeeze(salience_of(rows), -1)
            word_score = ops.log(size) + salience + word_context
            value = evidence / ops.expand_dims(size, -1)
            total = ops.sum(ops.where(known, ops.exp(word_score), 0.0), axis=-1)
            sentence_score = ops.log(total + 1e-6) + sentence_context  # (B, N)
        else:
            word_score, value = ops.zeros_like(evidence[..., 0]), evidence
            sentence_score = ops.zeros_like(word_score[:, :, 0])
        # Words are asked for their last feature, sentences for the one before: pooling gives each
        # sentence its own score back, which all of its words carry.
        carried = ops.expand_dims(sentence_score, -1) + ops.zeros_like(word_score)
        features = ops.concatenate([value, ops.stack([carried, word_score], axis=-1)], axis=-1)
        pooled, weights = attention(features, mask=known, return_attention_scores=True)
        strength = scale(ops.expand_dims(sentence_score, -1), ops.any(known, axis=-1))  # (B, 1)
        probability = to_probability(bias(pooled[:, :num_classes] * strength))
        share = weights["sentences"] * strength  # (B, N)
        spoken = ops.sum(ops.expand_dims(weights["words"], -1) * value, axis=2)
        return probability, weights, ops.expand_dims(share, -1) * spoken

    grid = keras.Input((None, width), dtype="int32", name="ids")
    own = {
        name: keras.Input((1,), dtype=dtype, name=name)
        for name, dtype in (("own_class", "int32"), ("own_share", "float32"))
    }
    training = keras.Model({"ids": grid, **own}, classify(grid, *own.values())[0])

    ids = keras.Input((None,), dtype="int32", name="ids")
    grid = split(ids)
    probability, weights, evidence = classify(grid)
    spread = ngrams.SpreadOverPieces(name="spread", dtype="float32")
    words = spread(layers.Reshape((-1, config.order, 1))(weights["words"]))
    use = keras.Model(
        ids,
        {
            "probability": probability,
            "sentences": weights["sentences"],
            "words": layers.Reshape((-1, width))(words)[:, :, : config.max_words],
            "evidence": evidence,
            "grid": grid[:, :, : config.max_words],
        },
        name=NAME,
    )

    split.kinds.assign(sentences.kinds_of(texts.vocabulary))
    lookup.keys.assign(texts.keys)
    evidence_of.set_counts(texts.counts)
    if pooling == "attention":
        salience_of.embeddings.assign(np.concatenate([[0.0], np.log(texts.idf)])[:, None])
        # The queries begin by picking the scores. Training may turn them, as it may any query.
        word_query, sentence_query = np.eye(num_classes + 2)[[-1, -2], None]
        attention.word_query.assign(word_query)
        attention.sentence_query.assign(sentence_query)
    else:
        attention.word_query.assign(np.zeros((1, num_classes + 2)))
        attention.sentence_query.assign(np.zeros((1, num_classes + 2)))
        attention.trainable = False
    return training, use


def _context(config, vocabulary_size, width):
    """A function from ids to what the context adds to the scores of n-grams and of sentences."""
    from keras import layers, ops

    size = config.embedding_size
    embedding = layers.Embedding(vocabulary_size, size, name="pieces")
    rate = config.context_dropout
    dropouts = [layers.Dropout(rate, seed=config.seed + i) for i in range(3)]
    # Whole pieces are hidden: else the network knows each training text by heart.
    hide = layers.Dropout(rate, noise_shape=(None, None, 1), seed=config.seed + 3)
    # Nothing at first: the scores begin as those of the evidence.
    word_mixer = layers.Conv1D(size, 5, padding="same", activation="relu", name="word_context")
    word_score = layers.Dense(config.order, kernel_initializer="zeros", name="word_score")
    mixer = layers.Conv1D(size, 3, padding="same", activation="relu", name="sentence_context")
    sentence_score = layers.Dense(1, kernel_initializer="zeros", name="sentence_score")

    def context(flat):
        known = ops.expand_dims(flat > 0, -1)  # (B, N (W + GAP), 1)
        x = embedding(flat)
        x = hide(x * ops.cast(known, x.dtype))  # a convolution sees no padding
        x = dropouts[0](word_mixer(x))
        of_words = layers.Reshape((-1, width * config.order), dtype="float32")(word_score(x))
        # A sentence is the mean of its pieces.
        count = ops.cast(layers.Reshape((-1, width, 1))(known), x.dtype)  # (B, N, W + GAP, 1)
        x = layers.Reshape((-1, width, size))(x) * count
        x = ops.sum(x, axis=2) / ops.maximum(ops.sum(count, axis=2), 1)
        x = dropouts[2](mixer(dropouts[1](x)))
        of_sentences = layers.Reshape((-1,), dtype="float32")(sentence_score(x))
        return of_words, of_sentences

    return context


def batches(config, texts, data, part, *, is_training=False, epoch=0):
    """Batches of a split. For training they are shuffled, cut, and name each text's own class."""
    from recipes.data.batches import DocumentBatches

    cut = config.max_sentences if is_training else None
    return DocumentBatches(
        [document[:cut] for document in texts.documents[part]],
        data.splits[part].labels,
        config.batch_size,
        max_words=config.max_words,
        shares=texts.shares if is_training else None,
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


def fit(config, model, texts, data, callbacks, *, epoch=0):
    """Trains on the training split, watched on the validation split."""
    model.fit(
        batches(config, texts, data, "train", is_training=True, epoch=epoch),
        validation_data=batches(config, texts, data, "validation"),
        epochs=config.epochs,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )


def tfidf_accuracy(data):
    """Test accuracy of a linear support vector machine over tf-idf of words and pairs of words.

    It has no use for a validation split, so it learns from that as well.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    texts = data.train.texts + data.validation.texts
    labels = np.concatenate([data.train.labels, data.validation.labels])
    baseline = make_pipeline(
        TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=2 if len(texts) > 1000 else 1
        ),
        LinearSVC(C=0.5, random_state=0),
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
    fitting.set_up_keras(config.seed, mixed_precision=config.mixed_precision)
    texts = prepare(config, data)
    training, model = build_model(config, texts)
    compile_model(config, training)
    callbacks = fitting.training_callbacks(
        run,
        monitor="val_loss",
        mode="min",
        patience=config.patience,
        use_average=True,
        tensorboard=config.tensorboard,
    )
    if not run.is_trained:
        fit(config, training, texts, data, callbacks, epoch=run.epochs_done)
    fitting.load_best_weights(training, run)
    minutes = run.minutes

    test = batches(config, texts, data, "test")
    measured = training.evaluate(test, return_dict=True, verbose=0)
    scores = {"accuracy": measured["accuracy"], "log_loss": measured["loss"]}
    baselines = {}
    if config.baselines:
        baselines["tf-idf, linear SVM"] = tfidf_accuracy(data)
        baselines["mean pooling at both levels"] = _mean_pooling_accuracy(config, texts, data)
    for name, accuracy in {"this model": scores["accuracy"], **baselines}.items():
        print(f"test accuracy {accuracy:.4f}  {name}")

    model.save(run.path / "model.keras")
    forms = exports.export_classifier(
        model,
        run.path,
        formats=list(FORMS),
        labels=data.labels,
        vocabulary=texts.vocabulary,
        tokenizer=wordpiece.fast_tokenizer(texts.vocabulary),
        texts=data.test.texts[: config.parity_texts],
        ids=texts.ids["test"][: config.parity_texts],
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
        run.path, title="Document classification", sections=_card(data), metrics=metrics
    )
    run.finish()


def _mean_pooling_accuracy(config, texts, data):
    """The same model, trained alike, with equal weights for words and for sentences."""

    training, _ = build_model(config, texts, pooling="mean")
    compile_model(config, training)
    stop = fitting.baseline_callbacks("val_loss", "min", config.patience)
    print("The same with mean pooling:")
    fit(config, training, texts, data, stop)
    test = batches(config, texts, data, "test")
    return training.evaluate(test, return_dict=True, verbose=0)["accuracy"]


def _card(data):
    """The words of the model card."""
    from recipes.text import sentences

    return {
        "What it does": (
            f"Tells which of {', '.join(data.labels)} a text is, how sure it is, how much each "
            "sentence counted (`sentences` sums to one), and how much each word piece did in its "
            "sentence (`words` sums to one in each). The `evidence` of all sentences sums to what "
            "decides."
        ),
        "Data and licence": "\n\n".join(
            [data.description, data.licence, *(f"Note: {note}." for note in data.notes)]
        ),
        "Limits": (
            "It knows words and pairs of word pieces, and what surrounds them moves how much they "
            "count, not what they say. It learned from one kind of text and is worse on others, "
            "also on later ones of the same kind. A word that it has never seen counts for "
            "nothing, and a text without any known word gets the frequencies of the labels. Its "
            "sentences are those of a simple rule. It must not decide about people."
        ),
        "How to use": (
            f"    python -m recipes.{NAME} predict FOLDER --file DOCUMENT\n\n"
            "`model.tflite` has two signatures: `text` takes raw text and needs tensorflow-text's "
            "operators; `ids` runs in any interpreter, with `vocabulary.txt` and `labels.txt` in "
            "the file itself (it is also a zip archive). `saved_model` takes raw text and loads "
            "after `import tensorflow_text`. The model splits sentences itself; tokenizers do not "
            f"see empty lines, so first put a {sentences.PARAGRAPH} where one ends, as "
            "`recipes.text.sentences.mark_paragraphs` does. `grid` holds the ids in sentences, one "
            "per row, in step with `words`."
        ),
    }


# ----------------------------------------------------------------------------------- predict


def predict(config):
    """Tell the subject of documents and show the sentences and words that decided."""
    from keras_attention.explain.highlight import shade, to_html

    run_folder.find_run(
        config.folder, recipe=NAME, files=[FORMS[config.form], "vocabulary.txt", "labels.txt"]
    )
    texts = flags.given_or_read(config.texts, config.file, "documents", whole_file=True)
    read = _reader(config)
    pages = []
    for text in texts:
        answer = read(text)
        heading = f"{answer.label} {answer.probability:.3f}"
        words = answer.word_spans, answer.word_weights
        sentences = answer.sentence_spans, answer.sentence_weights
        print(f"{heading}\n{shade(text, *words, sentences)}")
        for line in answer.main_sentences(text):
            print(line)
        print(flush=True)
        pages.append((heading, text, *words, sentences))
    if config.html:
        try:
            config.html.write_text(to_html("Document classification", pages), encoding="utf-8")
        except OSError as error:
            raise UserError(f"Cannot write --html {config.html}: {error.strerror}") from error


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model says of a document.

    Attributes:
        label: String.
        probability: Float, of the label.
        word_spans, sentence_spans: Lists of `(start, end)` in characters.
        word_weights, sentence_weights: Lists of floats, each the share in the decision.
        sentence_labels: List of strings, what each sentence says by itself.
    """

    label: str
    probability: float
    word_spans: list
    word_weights: list
    sentence_spans: list
    sentence_weights: list
    sentence_labels: list

    def main_sentences(self, text, count=3):
        """Lines with the sentences of the largest weights."""
        order = np.argsort(self.sentence_weights)[::-1][:count]
        for index in order:
            start, end = self.sentence_spans[index]
            weight, label = self.sentence_weights[index], self.sentence_labels[index]
            if weight > 0:
                yield f"  {weight:.2f}  {label}: {' '.join(text[start:end].split())}"


def _reader(config):
    """A function from a text to an `Answer`."""
    from recipes.text.sentences import mark_paragraphs

    path = config.folder / FORMS[config.form]
    try:
        vocabulary, labels = (
            (config.folder / name).read_text(encoding="utf-8").split("\n")[:-1]
            for name in ("vocabulary.txt", "labels.txt")
        )
        tokenizer = wordpiece.fast_tokenizer(vocabulary)
    except (OSError, ValueError, RuntimeError) as error:
        raise errors.cannot_load(path, error) from error
    run = exports.text_runner(path)

    def read(text):
        marked = mark_paragraphs(text)  # of the same length
        outputs = {name: value[0] for name, value in run([marked]).items()}
        is_piece = outputs["grid"] > 0
        shares = outputs["words"] * outputs["sentences"][:, None]
        words = wordpiece.word_weights(tokenizer, vocabulary, marked, shares[is_piece])
        # The pieces in the grid, row by row, are those of the text.
        _, pieces = wordpiece.piece_spans(tokenizer, marked)
        lengths = is_piece.sum(1)
        ends = np.cumsum(lengths)
        sentences = [
            (pieces[end - length][0], pieces[end - 1][1])
            for length, end in zip(lengths, ends, strict=True)
            if length
        ]
        evidence = outputs["evidence"][lengths > 0]
        return Answer(
            outputs["label"].decode(),
            float(outputs["probability"].max()),
            *words,
            sentences,
            outputs["sentences"][lengths > 0].tolist(),
            [labels[index] for index in evidence.argmax(1)],
        )

    return read


if __name__ == "__main__":
    sys.exit(flags.command_line(__doc__, train=(Config, train), predict=(PredictConfig, predict)))
