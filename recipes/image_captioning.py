"""Image captioning: from an image to a sentence, with the place that each word came from.

Trains a decoder that writes a caption word by word while it looks at places of the image, and
exports it, with the network that sees, as a SavedModel that takes images and gives captions and as
TFLite files for a phone.

Model. A convolutional backbone (from keras.applications, a .keras file, or a small one of our own)
turns the image into a grid of features. An LSTM starts from their mean; at each step it weighs all
places of the grid by additive attention, and the average it gets, with what it remembers, decides
the next word. `--attention hard` looks at one place at a time, drawn by its weight and trained by
REINFORCE; `adaptive` may look away, at a sentinel; `none` weighs all places alike. A penalty asks
that no place be forgotten. Captions are found by beam search.

Data: "toy" (drawn, offline: of each word we know what it means), a folder with captions.csv (also
tsv, jsonl, gzip; columns split, image, caption) beside images/ or images.zip, or
"tfds:coco_captions".

    python -m recipes.image_captioning train --data toy
    python -m recipes.image_captioning predict saved_models/image_captioning a.jpg --png look.png

Reference: Xu et al., 2015, https://arxiv.org/abs/1502.03044 (its soft and hard attention and the
penalty of eq. 14); Lu et al., 2017, https://arxiv.org/abs/1612.01887 (the sentinel, and that the
LSTM runs before it looks). Departures: the backbone stays as it is unless `--fine-tune`, places are
told apart by a learned position, labels are smoothed, the step size falls, and what is kept is a
moving average of the weights. The README has figures on Flickr8k.
"""

import dataclasses
import itertools
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from recipes.data import captions as caption_data
from recipes.kit import errors, exports, fitting, flags, records, run_folder
from recipes.kit.errors import UserError
from recipes.kit.flags import argument, option, usual

NAME = "image_captioning"
FORMS = {
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "tflite_float16": "model_float16.tflite",
    "tflite_int8": "model_int8.tflite",
}
ATTENTIONS = ("soft", "hard", "adaptive", "none")
PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("[PAD]", "[START]", "[END]", "[UNK]")
_STEP_ROWS = 100  # on which single steps of the exports are compared


@dataclasses.dataclass(frozen=True)
class Config:
    """What `train` can be told."""

    data: str = option("toy", "toy, tfds:NAME or a folder with captions.* and images")
    output: Path = option(Path("saved_models") / NAME, "folder to write")
    backbone: str | None = option(
        None,
        "model of keras.applications, FILE.keras that maps images to a grid, or small; "
        "none: small for toy, else MobileNet",
    )
    image_size: int | None = option(
        None, "pixels along each side of an image; none: what the backbone takes", low=16, high=1024
    )
    fine_tune: bool = option(False, "train the backbone too (slow; needs all images in memory)")
    cache: Path = option(Path("saved_models") / "features", "folder to keep image features in")
    attention: str = option("soft", "how the decoder looks at the image", choices=ATTENTIONS)
    epochs: int | None = usual(12, 4, "passes over the training captions, at most", low=1)
    patience: int = option(3, "epochs without a better validation loss before it stops", low=1)
    batch_size: int | None = usual(128, 64, "captions a training step", low=1)
    learning_rate: float | None = usual(
        0.001, 0.006, "largest step size of Adam", low=1e-6, high=1.0
    )
    averaging: float | None = usual(
        0.995,
        0.95,
        "how much of the moving average of the weights a step keeps",
        low=0.0,
        high=0.9999,
    )
    embedding_size: int | None = usual(256, 64, "size of a word's vector", low=1)
    units: int | None = usual(512, 128, "size of the LSTM, and of a place's vector", low=1)
    dropout: float | None = usual(
        0.5, 0.0, "dropout of places, words and what decides", low=0.0, high=0.95
    )
    label_smoothing: float | None = usual(
        0.1, 0.0, "share of each label given to all words", low=0.0, high=0.9
    )
    penalty: float | None = usual(0.1, 0.0, "weight of the penalty on forgotten places", low=0.0)
    beams: int = option(3, "captions that the search keeps side by side", low=1, high=50)
    length_penalty: float = option(1.3, "how much the search favours long captions", low=0.0)
    max_words: int = option(20, "words in the longest caption", low=1, high=200)
    min_count: int | None = usual(5, 1, "times a word must occur to be learned", low=1)
    mirror: bool = option(False, "train on mirror images too, with left and right exchanged")
    validation_fraction: float = option(
        0.1, "share of the training images to validate on, without rows for it", low=0.01, high=0.5
    )
    baselines: bool = option(True, "measure the nearest image and the decoder without attention")
    parity_images: int = option(200, "test images on which the exports are compared", low=1)
    seed: int = option(0, "seed of everything random", low=0)
    mixed_precision: bool = option(False, "compute in 16 bits")
    limit: int | None = option(None, "images of each split to use, for a quick look", low=4)
    data_dir: Path | None = option(None, "where TensorFlow Datasets keeps its data")
    tensorboard: Path | None = option(None, "folder for TensorBoard's logs")


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    images: tuple[Path, ...] = argument("image files to describe", nargs="*")
    form: str = option("saved_model", "which export to use", choices=tuple(FORMS))
    png: Path | None = option(None, "also draw where each word was seen, for a single image")


# ------------------------------------------------------------------------------------- train


def load_data(config):
    """The captioned images of `--data`."""
    return caption_data.load(
        config.data,
        seed=config.seed,
        validation_fraction=config.validation_fraction,
        limit=config.limit,
        data_dir=config.data_dir,
    )


def load_backbone(config):
    """The model from images to a grid, `trainable` only where it is to be trained."""
    from recipes.parts import backbones

    name = config.backbone or (backbones.SMALL if config.data == "toy" else "MobileNet")
    return backbones.load(name, config.image_size, trainable=config.fine_tune)


def learn_vocabulary(captions, min_count):
    """The special tokens and the words, the most frequent first.

    >>> learn_vocabulary([["A dog .", "A dog runs."], ["Dog"]], min_count=2)
    ['[PAD]', '[START]', '[END]', '[UNK]', 'dog', 'a']
    """
    counts = Counter(
        word for some in captions for caption in some for word in caption_data.words(caption)
    )
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return [*SPECIAL, *(word for word in words if counts[word] >= min_count)]


def encode(vocabulary, captions, max_words, mirrored=False):
    """For each image a list of int32 arrays, from the start to the end token.

    What is longer than `max_words` is cut, and has no end. For the caption of a mirror image left
    and right are exchanged.
    """
    ids = {word: number for number, word in enumerate(vocabulary)}
    if mirrored:
        ids["left"], ids["right"] = (ids.get(word, UNKNOWN) for word in ("right", "left"))

    def one(caption):
        numbers = [ids.get(word, UNKNOWN) for word in caption_data.words(caption)]
        numbers = [START, *numbers, END][: 1 + max_words]
        return np.array(numbers, "int32")

    return [[one(caption) for caption in some] for some in captions]


def decode(vocabulary, ids):
    """The words of `(N, L)` ids up to the end token, one string for each row."""
    found = []
    for row in np.asarray(ids):
        until = itertools.takewhile(lambda number: number not in (END, PAD), row)
        found.append(" ".join(vocabulary[number] for number in until))
    return found


def build_model(config, backbone, vocabulary_size, attention):
    """The captioner, once to train and once to use; both share all weights.

    Args:
        config: A `Config`.
        backbone: Model from images `(B, size, size, 3)` to a grid `(B, H, W, C)`.
        vocabulary_size: Integer V, special tokens included.
        attention: One of `ATTENTIONS`.

    Returns:
        The model to train, from `words` `(B, 1 + T)` and `features` `(B, H, W, C)`, or `image`
        where the backbone is trained, to logits `(B, T, V)` of the words from the second on; for
        hard attention to log-likelihoods `(B,)`, with its loss inside. The model to use: `image`
        and `words` to a dict of `logits` and `weights` `(B, T, H, W)`.
    """
    import keras
    from keras import layers, ops

    import keras_attention as ka
    from recipes.parts.caption_layers import DoublyStochasticPenalty

    grid = backbone.output_shape[1:]
    encoder = _encoder(config, grid)
    decoder = ka.AttentionDecoder(
        layers.LSTMCell(config.units),
        _attention(config, attention),
        input_feeding=False,
        name="decoder",
    )
    embedding = layers.Embedding(vocabulary_size, config.embedding_size, name="embedding")
    embedding_dropout = layers.Dropout(config.dropout, seed=config.seed + 2)
    head = layers.Dense(vocabulary_size, name="head", dtype="float32")
    head_dropout = layers.Dropout(config.dropout, seed=config.seed + 3)

    def read(features, words):
        given, counted = words[:, :-1], ops.not_equal(words[:, 1:], PAD)  # (B, T)
        encoded = encoder(features)
        outputs, weights = decoder(
            embedding_dropout(embedding(given)),
            encoded["memory"],
            initial_state=[encoded["hidden"], encoded["cell"]],
            inputs_mask=counted,
            return_attention_scores=True,
        )
        return head(head_dropout(outputs)), weights, counted

    words = keras.Input((None,), dtype="int32", name="words")
    image = keras.Input(backbone.input_shape[1:], name="image")
    logits, weights, _ = read(backbone(image), words)
    model = keras.Model(
        {"image": image, "words": words},
        {"logits": logits, "weights": _over_grid(weights, grid)},
        name=NAME,
    )

    if backbone.trainable:
        seen, features = image, backbone(image)
    else:
        seen = keras.Input(grid, dtype="float16", name="features")
        features = ops.cast(seen, "float32")
    logits, weights, counted = read(features, words)
    if attention == "hard":
        choice, probabilities = ops.split(weights, 2, axis=-1)
        log_p = -ops.sparse_categorical_crossentropy(words[:, 1:], logits, from_logits=True)
        log_p = ops.sum(ops.where(counted, log_p, 0.0), axis=-1)  # (B,)
        reinforce = ka.ReinforceLoss(entropy_weight=0.002, dtype="float32", name="reinforce")
        outputs = reinforce(log_p, choice, probabilities)
    else:
        outputs = logits
        if config.penalty and attention != "none":
            penalty = DoublyStochasticPenalty(config.penalty, dtype="float32", name="penalty")
            outputs = penalty(logits, weights, counted)
    return keras.Model({seen.name: seen, "words": words}, outputs), model


def _encoder(config, grid):
    """From a grid to the decoder's memory, a vector for each place, and its first state."""
    import keras
    from keras import layers, ops

    import keras_attention as ka

    features = keras.Input(grid, name="features")
    places = layers.Reshape((-1, grid[-1]))(features)  # (B, S, C)
    mean = ops.mean(places, axis=1)
    x = layers.Dropout(config.dropout, seed=config.seed)(places)
    x = layers.Dense(config.units, activation="relu", name="places")(x)
    x = ka.PositionEmbedding(x.shape[1], name="position")(x)
    start = layers.Dropout(config.dropout, seed=config.seed + 1)(mean)
    hidden, cell = (
        layers.Dense(config.units, activation="tanh", name=name)(start)
        for name in ("hidden", "cell")
    )
    return keras.Model(features, {"memory": x, "hidden": hidden, "cell": cell}, name="encoder")


def _attention(config, attention):
    import keras_attention as ka
    from recipes.parts.caption_layers import HardAttention, equal_weights

    if attention == "none":
        return ka.ContentAttention("dot", normalizer=equal_weights, name="attention")
    units = config.units // 2  # of the hidden layer in which query and place meet
    if attention == "hard":
        return HardAttention(units, seed=config.seed, name="attention")
    if attention == "adaptive":
        return ka.AdaptiveAttention(units, name="attention")
    return ka.ContentAttention(ka.AdditiveScore(units), name="attention")


def _over_grid(weights, grid):
    """The weights `(B, T, S)` of all places as `(B, T, H, W)`."""
    from keras import layers

    height, width, _ = grid
    weights = weights[..., : height * width]  # hard attention's choice, without the probabilities
    return layers.Reshape((-1, height, width), dtype="float32")(weights)


def compile_model(config, training, captions):
    """Loss, optimizer and metric, for a training with so many captions an epoch."""
    import keras

    import keras_attention as ka

    steps = config.epochs * -(-captions // config.batch_size)
    optimizer = keras.optimizers.Adam(
        fitting.rise_and_fall(config.learning_rate, steps),
        clipnorm=5.0,
        use_ema=True,
        ema_momentum=config.averaging,
    )
    if len(training.output.shape) == 1:  # hard attention, which brings its loss
        training.compile(optimizer)
        return
    training.compile(
        optimizer,
        ka.SequenceCrossentropy(config.label_smoothing, ignore_class=PAD, from_logits=True),
        metrics=[ka.TokenAccuracy(ignore_class=PAD, name="accuracy")],
    )


def fit(config, training, seen, ids, callbacks, *, epoch=0):
    """Trains on the training captions, watched on the validation captions.

    Args:
        seen: Dict from `"train"`, `"mirrored"` (perhaps) and `"validation"` to what the model is
            given of the images.
        ids: Dict from the same names to the captions, as `encode` gives them.
    """
    from recipes.data.caption_batches import CaptionBatches

    (name,) = {"features", "image"} & set(training.input)
    mirrored = (seen["mirrored"], ids["mirrored"]) if "mirrored" in seen else None
    training.fit(
        CaptionBatches(
            seen["train"], ids["train"], config.batch_size,
            name=name, shuffle_seed=config.seed, mirrored=mirrored, epoch=epoch,
        ),
        validation_data=CaptionBatches(
            seen["validation"], ids["validation"], config.batch_size, name=name
        ),
        epochs=config.epochs,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )  # fmt: skip


def look(config, backbone, data):
    """What the model is given of all images, and the data without those that cannot be read.

    Returns:
        Dict from the name of a split, and `"mirrored"` for the training images seen in a mirror,
        to an array with a row for each image: grids, or images where the backbone is trained. The
        data without the broken images.
    """
    from recipes.parts import backbones

    seen, broken = {}, []
    key = None if backbone.trainable else backbones.fingerprint(backbone) + data.fingerprint
    for part, split in data.splits.items():
        if backbone.trainable:
            seen[part], some = backbones.prepared_images(split, backbone.input_shape[1])
        else:
            seen[part], some = backbones.cached_features(
                backbone, split, config.cache, f"{key} {part}"
            )
        broken += some
    if config.mirror and backbone.trainable:
        seen["mirrored"] = seen["train"][:, :, ::-1]
    elif config.mirror:
        seen["mirrored"], _ = backbones.cached_features(
            backbone, data.train, config.cache, f"{key} train", mirrored=True
        )
    whole = data.without(broken)
    if broken:
        for name in seen:
            before, after = (
                d.splits["train" if name == "mirrored" else name] for d in (data, whole)
            )
            kept = set(after.names)
            seen[name] = seen[name][[row for row, n in enumerate(before.names) if n in kept]]
    return seen, whole


def train(config):
    """Train a captioner, measure it beside its baselines, and export it."""
    with run_folder.RunFolder(config.output, recipe=NAME) as run:
        data = load_data(config)
        print(data)
        run.start(config, data=data.fingerprint)
        _train(config, data, run)


def _train(config, data, run):
    fitting.set_up_keras(config.seed, mixed_precision=config.mixed_precision)
    config = flags.settle(config, sum(map(len, data.train.captions)))
    backbone = load_backbone(config)
    seen, whole = look(config, backbone, data)
    if whole is not data:
        print(f"  Note: {whole.notes[-1]}")
    data = whole
    vocabulary = learn_vocabulary(data.train.captions, config.min_count)
    ids = {
        part: encode(vocabulary, split.captions, config.max_words)
        for part, split in data.splits.items()
    }
    ids["mirrored"] = encode(vocabulary, data.train.captions, config.max_words, mirrored=True)
    height, width, channels = backbone.output_shape[1:]
    print(
        f"{len(vocabulary):,} words; each image is {height} x {width} places of {channels} numbers"
    )

    training, model = build_model(config, backbone, len(vocabulary), config.attention)
    compile_model(config, training, sum(map(len, ids["train"])))
    callbacks = fitting.training_callbacks(
        run,
        monitor="val_loss",
        mode="min",
        patience=config.patience,
        use_average=True,
        tensorboard=config.tensorboard,
    )
    if not run.is_trained:
        fit(config, training, seen, ids, callbacks, epoch=run.epochs_done)
    fitting.load_best_weights(training, run)
    minutes = run.minutes

    references = [[" ".join(caption_data.words(c)) for c in some] for some in data.test.captions]
    grids = {part: _grids(backbone, seen[part]) for part in ("train", "test")}
    scores = bleu(describe(config, model, grids["test"], vocabulary), references)
    others = {}
    if config.baselines:
        nearest = nearest_captions(grids["train"], data.train.captions, grids["test"])
        others["caption of the nearest training image"] = bleu(nearest, references)
        if config.attention != "none":
            others["no attention"] = _score_without_attention(
                config, vocabulary, seen, ids, references
            )
    for name, some in {"this model": scores, **others}.items():
        print("test", *(f"{n} {score:.1f}" for n, score in sorted(some.items())), "", name)

    model.save(run.path / "model.keras")
    forms = _export(config, model, data, vocabulary, run.path)
    records.plot_history(
        run.history,
        run.path / "history.png",
        metric="loss" if config.attention == "hard" else "accuracy",
    )
    metrics = records.write_metrics(
        run.path,
        recipe=NAME,
        data=data.name,
        seed=config.seed,
        scores=scores,
        baselines={name: some["BLEU-4"] for name, some in others.items()},
        minutes=minutes,
        epochs=run.epochs_done,
        parameters=model.count_params(),
        exports=forms,
        details={"baseline_scores": others},
    )
    records.write_model_card(
        run.path, title="Image captioning", sections=_card(config, data), metrics=metrics
    )
    run.finish()


def _grids(backbone, seen):
    return backbone.predict(seen, verbose=0) if backbone.trainable else seen


def _score_without_attention(config, vocabulary, seen, ids, references):
    """BLEU of the same decoder, trained alike, that weighs all places alike at every step."""

    print("The same without attention:")
    backbone = load_backbone(config)
    training, model = build_model(config, backbone, len(vocabulary), "none")
    compile_model(config, training, sum(map(len, ids["train"])))
    stop = fitting.baseline_callbacks("val_loss", "min", config.patience)
    fit(config, training, seen, ids, stop)
    grids = _grids(backbone, seen["test"])
    return bleu(describe(config, model, grids, vocabulary), references)


# ------------------------------------------------------------------------------------ search


def first_state(model, grid):
    """The decoder's state before the first word, for grids `(B, H, W, C)`."""
    encoded = model.get_layer("encoder")(grid, training=False)
    return model.get_layer("decoder").initial_state(
        encoded["memory"], cell_state=[encoded["hidden"], encoded["cell"]]
    )


def next_word(model):
    """The step of the search: token `(B,)` and state to logits `(B, V)`, state and weights."""
    embedding, decoder, head = map(model.get_layer, ("embedding", "decoder", "head"))
    never = np.zeros(head.units, "float32")
    never[[PAD, START, UNKNOWN]] = -1e9

    def step(token, state):
        output, weights, state = decoder.step(embedding(token), state)
        return head(output) + never, state, weights

    return step


def beam_search(config, model, grid):
    """The most probable captions, int32 `(B, L)`."""
    import keras_attention as ka

    tokens, _, _ = ka.beam_search(
        next_word(model),
        START,
        first_state(model, grid),
        max_length=config.max_words + 1,
        end_token=END,
        num_beams=config.beams,
        length_penalty=config.length_penalty,
    )
    return tokens[:, 0]


def weights_of(model, grid, tokens):
    """Where the model looks for each word of given captions `(B, L)`: `(B, L, H, W)`."""
    from keras import ops

    encoded = model.get_layer("encoder")(grid, training=False)
    start = ops.full_like(tokens[:, :1], START)
    given = ops.concatenate([start, tokens[:, :-1]], axis=1)
    _, weights = model.get_layer("decoder")(
        model.get_layer("embedding")(given),
        encoded["memory"],
        initial_state=[encoded["hidden"], encoded["cell"]],
        inputs_mask=ops.not_equal(tokens, PAD),
        return_attention_scores=True,
        training=False,
    )
    return _over_grid(weights, tuple(grid.shape[1:]))


def describe(config, model, grids, vocabulary):
    """The captions of grids `(N, H, W, C)`, found by beam search: a list of strings."""
    import tensorflow as tf

    # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
    search = tf.function(lambda grid: beam_search(config, model, grid), autograph=False)
    size, found = 50, []
    for start in range(0, len(grids), size):
        some = np.asarray(grids[start : start + size], "float32")
        rest = size - len(some)  # another size would be traced anew
        tokens = search(tf.constant(np.pad(some, [(0, rest), *[(0, 0)] * 3])))
        found += decode(vocabulary, tokens[: len(some)])
    return found


def bleu(found, references):
    """BLEU-1 to 4 of captions against all references of their images, from 0 to 100.

    Captions and references are words in lower case without punctuation, set apart by spaces.
    """
    from sacrebleu.metrics import BLEU

    streams = list(itertools.zip_longest(*references))  # an image may have fewer than another
    return {
        f"BLEU-{order}": BLEU(tokenize="none", max_ngram_order=order, force=True)
        .corpus_score(found, streams)
        .score
        for order in (4, 3, 2, 1)
    }


def nearest_captions(grids, captions, test_grids):
    """For each test image a caption of the most similar training image.

    Similar is what has a high cosine of the mean features. Of that image's captions it is the one
    that agrees most with its others, in words.
    """
    means = [
        np.concatenate([some.mean((1, 2), "float32") for some in np.array_split(all_, 50)])
        for all_ in (grids, test_grids)
    ]
    means = [mean / (np.linalg.norm(mean, axis=1, keepdims=True) + 1e-9) for mean in means]
    best = (means[1] @ means[0].T).argmax(1)
    return [_most_agreed(captions[row]) for row in best]


def _most_agreed(captions):
    bags = [Counter(caption_data.words(caption)) for caption in captions]

    def agreement(bag):
        return sum(2 * (bag & other).total() / (bag.total() + other.total()) for other in bags)

    return " ".join(caption_data.words(captions[int(np.argmax(list(map(agreement, bags))))]))


# ------------------------------------------------------------------------------------ export


def _export(config, model, data, vocabulary, folder):
    """Writes all forms; returns for each its size, time and agreement with the Keras model."""
    import keras
    import tensorflow as tf

    import keras_attention as ka

    words = tf.constant([word if n > UNKNOWN else "" for n, word in enumerate(vocabulary)])
    size = model.get_layer("backbone").input_shape[1]
    count = min(config.parity_images, len(data.test))
    images = np.stack(list(data.test.take(range(count)).images(size)))
    image_spec = {"image": ((None, size, size, 3), "uint8")}

    def see(model, image):
        return model.get_layer("backbone")(tf.cast(image, tf.float32), training=False)

    def caption(model, image):
        grid = see(model, image)
        ids = beam_search(config, model, grid)
        text = tf.strings.strip(tf.strings.reduce_join(tf.gather(words, ids), 1, separator=" "))
        return {"caption": text, "ids": ids, "weights": weights_of(model, grid, ids)}

    def greedy(model, image):
        grid = see(model, image)
        ids, _, _ = ka.greedy_search(
            next_word(model), START, first_state(model, grid), config.max_words + 1, END
        )
        return {"ids": ids, "weights": weights_of(model, grid, ids)}

    # A state is a structure; a phone passes tensors by name.
    state = first_state(model, see(model, images[:1]))
    names = ["_".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(state)]
    state_specs = {
        name: ((None, *x.shape[1:]), "float32")
        for name, x in zip(names, keras.tree.flatten(state), strict=True)
    }

    def encode(model, image):
        found = first_state(model, see(model, image))
        return dict(zip(names, keras.tree.flatten(found), strict=True))

    def decode_step(model, token, **tensors):
        dtype = model.get_layer("decoder").compute_dtype
        before = [tf.cast(tensors[name], dtype) for name in names]
        before = keras.tree.pack_sequence_as(state, before)
        logits, after, weights = next_word(model)(token, before)
        after = dict(zip(names, keras.tree.flatten(after), strict=True))
        changed = {f"next_{name}": after[name] for name in names if name.startswith("cell")}
        grid = model.get_layer("encoder").input_shape[1:]
        weights = _over_grid(tf.expand_dims(weights, 1), grid)[:, 0]
        return {"logits": logits, "weights": weights, **changed}

    def same_caption(outputs):
        return np.array([" ".join(map(str, row)) for row in outputs["ids"]])

    encoded = {name: np.array(x) for name, x in encode(model, images[:_STEP_ROWS]).items()}
    tokens = np.full(len(images[:_STEP_ROWS]), START, "int32")
    # A word may change where two are as probable; then the numbers of all words after it do.
    exact = {"difference": None, "agreement": 0.98}
    measured = {"difference": None, "agreement": None}
    figures = exports.export(
        model,
        folder,
        formats="saved_model",
        signatures=[
            ka.Signature("caption", caption, image_spec, images, decision=same_caption),
        ],
        bounds={"saved_model": exact, "float32_rebuild": measured},
    )
    report = json.loads((folder / "parity.json").read_text())  # which the next call overwrites
    figures |= exports.export(
        model,
        folder,
        formats=[form for form in FORMS if form != "saved_model"],
        signatures=[
            ka.Signature("greedy", greedy, image_spec, images, decision=same_caption),
            ka.Signature("encode", encode, image_spec, images[:_STEP_ROWS], decision=names[0]),
            ka.Signature(
                "decode_step", decode_step, {"token": ((None,), "int32"), **state_specs},
                {"token": tokens, **encoded}, decision="logits",
            ),
        ],
        files={"vocabulary.txt": vocabulary},
        bounds={
            "tflite": exact,
            "tflite_float16": measured,
            "tflite_int8": measured,
            "float32_rebuild": measured,
        },
    )  # fmt: skip
    report["forms"] |= json.loads((folder / "parity.json").read_text())["forms"]
    (folder / "parity.json").write_text(json.dumps(report, indent=2) + "\n")
    tokens = beam_search(config, model, see(model, images[:1]))
    weights = np.array(weights_of(model, see(model, images[:1]), tokens))[0]
    _draw(images[0], decode(vocabulary, tokens)[0], weights, folder / "attention.png")
    return figures


def _draw(image, caption, weights, path):
    """Draws the image, and for each word of the caption where in it the word was seen."""
    import keras_attention as ka

    words = caption.split()
    ka.plot_image_attention(image, weights[: len(words)], words).savefig(path)


def _card(config, data):
    """The words of the model card."""
    return {
        "What it does": (
            "Writes what is in an image as one sentence, in lower case, and for each word the "
            "`weights` with which it looked at the places of the image: they sum to one over the "
            "grid."
        ),
        "Data and licence": "\n\n".join(
            [data.description, data.licence, *(f"Note: {note}." for note in data.notes)]
        ),
        "Limits": (
            "It writes the most usual sentence for what it sees, in the words of its training "
            "captions; it counts badly, takes what is unusual for what is usual, and guesses the "
            "sex and age of people from little. Nothing tells a certain caption from a guess. It "
            "must not decide about people, nor where someone's safety hangs on it."
        ),
        "Scores": (
            f"BLEU by sacrebleu, on captions found with {config.beams} beams and a length penalty "
            f"of {config.length_penalty:g}, against all references of an image; captions and "
            "references in lower case and without punctuation. The nearest training image is that "
            "of the highest cosine of the mean features; of its captions it is the one that agrees "
            "most with its others. `agreement` is the share of captions that are equal word by "
            "word; the TFLite files write them greedily."
        ),
        "How to use": (
            f"    python -m recipes.{NAME} predict FOLDER photo.jpg --png look.png\n\n"
            "`saved_model` takes images as uint8, squashed to the size of its input, and gives "
            "captions found by beam search. `model.tflite` has three signatures: `greedy` gives "
            "the `ids` of a caption, `encode` and `decode_step` take the steps one by one. The "
            "words are `vocabulary.txt`, also in the file itself (it is also a zip archive); id "
            f"{START} starts and id {END} ends a caption."
        ),
    }


# ----------------------------------------------------------------------------------- predict


def predict(config):
    """Describe images, and draw where each word was seen."""
    run_folder.find_run(config.folder, recipe=NAME, files=[FORMS[config.form], "vocabulary.txt"])
    if not config.images:
        raise UserError("Expected one image file or more. Received none")
    if config.png and len(config.images) > 1:
        raise UserError(f"Expected a single image with --png. Received: {len(config.images)}")
    size, read = _reader(config)
    for path in config.images:
        try:
            image = caption_data.decode(path.read_bytes(), size)
        except OSError as error:
            raise UserError(f"Cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"Expected an image in {path}: {error}") from error
        caption, weights = read(image)
        print(f"{path}: {caption}" if len(config.images) > 1 else caption, flush=True)
        if config.png:
            try:
                _draw(image, caption, weights, config.png)
            except (OSError, ValueError) as error:  # matplotlib: an ending that it does not know
                raise UserError(f"Cannot write --png {config.png}: {error}") from error


def _reader(config):
    """The size of the images, and a function from one to its caption and weights `(L, H, W)`."""
    try:
        vocabulary = (config.folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, ValueError) as error:
        raise errors.cannot_load(config.folder / "vocabulary.txt", error) from error
    signature = "caption" if config.form == "saved_model" else "greedy"
    run = exports.runner(config.folder / FORMS[config.form], signature)

    def read(image):
        outputs = run(image=image[None])
        return decode(vocabulary, outputs["ids"])[0], outputs["weights"][0]

    return int(run.shapes["image"][1]), read


if __name__ == "__main__":
    sys.exit(flags.command_line(__doc__, train=(Config, train), predict=(PredictConfig, predict)))
