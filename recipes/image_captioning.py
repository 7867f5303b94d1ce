"""Image captioning: from an image to a sentence, with the position that each word came from.

Trains a decoder that writes a caption word by word while it attends to positions of the image, and
exports it, with the network that sees, as a SavedModel that takes images and gives captions and as
TFLite files for a phone.

Model. A convolutional backbone (from keras.applications, a .keras file, or a small one of our own)
turns the image into a grid of features. An LSTM starts from their mean; at each step it weighs all
positions of the grid by additive attention, and the average it gets, with what it remembers,
decides the next word. `--attention hard` looks at one position at a time, sampled by its weight
and trained by REINFORCE; `adaptive` may look away, at a sentinel; `none` weighs all positions
alike. A penalty asks that no position be forgotten. Captions are found by beam search.

Data: "toy" (drawn, offline: of each word we know what it means), a folder with captions.csv (also
tsv, jsonl, gzip; columns split, image, caption) beside images/ or images.zip, or
"tfds:coco_captions".

    python -m recipes.image_captioning train --data toy
    python -m recipes.image_captioning predict saved_models/image_captioning a.jpg --png look.png
    python -m recipes.image_captioning web saved_models/image_captioning   # a page for a browser
    python -m recipes.image_captioning explain saved_models/image_captioning

Score: BLEU-4 18.6 and BLEU-1 58.4 on Flickr8k with MobileNetV1 and a beam of 3, after 39 minutes on
two cores of a server's CPU; 17.1 and 56.4 without attention. The network has many parts, so this
story is longer than others.

Reference: Xu et al., 2015, https://arxiv.org/abs/1502.03044 (its soft and hard attention and the
penalty of eq. 14); Lu et al., 2017, https://arxiv.org/abs/1612.01887 (the sentinel, and that the
LSTM runs before it looks). Departures: the backbone stays as it is unless `--fine-tune`, positions
are told apart by a learned embedding, labels are smoothed, the step size falls, and what is kept is
a moving average of the weights.
"""

import dataclasses
import functools
import sys
from pathlib import Path

import numpy as np

from recipes.baselines import bleu, nearest
from recipes.data import captions as caption_data
from recipes.data import images as image_data
from recipes.kit import explaining, exports, fitting, flags, records, run_folder
from recipes.kit import web as kit_web
from recipes.kit.errors import UserError, writing
from recipes.kit.explaining import ExplainConfig
from recipes.kit.flags import TrainConfig, argument, default, option, size_dependent
from recipes.kit.running import Run
from recipes.maps import captions as caption_maps
from recipes.text import words as caption_words
from recipes.text.words import END, PAD, START

NAME = "image_captioning"
FORMS = {"saved_model": "saved_model", **exports.FORMS}  # the first is what `predict` takes
ATTENTIONS = ("soft", "hard", "adaptive", "none")


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    data: str = option("toy", "toy, tfds:NAME or a folder with captions.* and images")
    output: Path = default(Path("saved_models") / NAME)
    limit: int | None = option(None, "images of each split to use, for a quick look", low=4)
    validation_fraction: float = option(
        0.1, "share of the training images to validate on, without rows for it", low=0.01, high=0.5
    )
    max_words: int = option(20, "words in the longest caption", low=1, high=200)
    min_count: int | None = size_dependent(5, 1, "times a word must occur to be learned", low=1)
    mirror: bool = option(False, "train on mirror images too, with left and right exchanged")
    # Network.
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
    embedding_size: int | None = size_dependent(256, 64, "size of a word's vector", low=1)
    units: int | None = size_dependent(
        512, 128, "size of the LSTM and of an image position's vector", low=1
    )
    dropout: float | None = size_dependent(
        0.5, 0.0, "dropout rate of image positions, words and LSTM outputs", low=0.0, high=0.95
    )
    # Training.
    epochs: int | None = size_dependent(12, 4)
    batch_size: int | None = size_dependent(128, 64)
    learning_rate: float | None = size_dependent(0.001, 0.006)
    averaging: float | None = size_dependent(0.995, 0.95)
    label_smoothing: float | None = size_dependent(
        0.1, 0.0, "share of each label given to all words", low=0.0, high=0.9
    )
    penalty: float | None = size_dependent(
        0.1, 0.0, "weight of the penalty on forgotten image positions", low=0.0
    )
    # Search, and what is written.
    beams: int = option(3, "hypotheses in the beam search", low=1, high=50)
    length_penalty: float = option(
        1.3, "exponent by which the search favours long captions", low=0.0
    )
    baselines: bool = option(True, "measure the nearest image and the decoder without attention")
    parity_images: int = option(200, "test images on which the exports are compared", low=1)
    explained: int = option(50, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class WebConfig(kit_web.WebConfig):
    """What `web` can be told."""

    images: tuple[Path, ...] = argument("examples that the page offers", nargs="*")
    max_words: int = option(20, "words in the longest caption", low=1, high=200)


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    images: tuple[Path, ...] = argument("image files to describe", nargs="*")
    form: str = option("saved_model", "which export to use", choices=tuple(FORMS))
    png: Path | None = option(None, "also draw where each word was seen, for a single image")


def load_backbone(config):
    """The model from images to a grid, `trainable` only where it is to be trained."""
    from recipes.parts import backbones

    name = config.backbone or (backbones.SMALL if config.data == "toy" else "MobileNet")
    return backbones.load(name, config.image_size, trainable=config.fine_tune)


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
    from recipes.parts import captioner
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
        {"logits": logits, "weights": captioner.over_grid(weights, grid)},
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
    """From a grid to the decoder's memory, a vector for each position, and its first state."""
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
    from recipes.parts.caption_layers import HardAttention

    if attention == "none":
        return ka.ContentAttention("dot", normalizer="uniform", name="attention")
    units = config.units // 2  # of the hidden layer in which query and position meet
    if attention == "hard":
        return HardAttention(units, seed=config.seed, name="attention")
    if attention == "adaptive":
        return ka.AdaptiveAttention(units, name="attention")
    return ka.ContentAttention(ka.AdditiveScore(units), name="attention")


def compile_model(config, training, captions):
    """Loss, optimizer and metric, for a training with so many captions an epoch."""
    import keras

    import keras_attention as ka

    steps = config.epochs * -(-captions // config.batch_size)
    optimizer = keras.optimizers.Adam(
        fitting.warmup_cosine(config.learning_rate, steps),
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


def make_batches(config, name, seen, ids, *, epoch=0):
    """Batches to train and to validate on.

    Args:
        config: A `Config`.
        name: String, the model's input for what it is given of the images.
        seen: Dict from `"train"`, `"mirrored"` (perhaps) and `"validation"` to what the model is
            given of the images.
        ids: Dict from the same names to the captions, as `text.words.encode` gives them.
        epoch: Integer, epochs done in an earlier session.
    """
    from recipes.data.batches import CaptionBatches

    mirrored = (seen["mirrored"], ids["mirrored"]) if "mirrored" in seen else None
    train = CaptionBatches(
        seen["train"], ids["train"], config.batch_size,
        name=name, shuffle_seed=config.seed, mirrored=mirrored, epoch=epoch,
    )  # fmt: skip
    return train, CaptionBatches(
        seen["validation"], ids["validation"], config.batch_size, name=name
    )


def train(config):
    """Train a captioner, measure it beside its baselines, and export it."""
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(caption_data.CaptionReader, config).load(config.data)
    from recipes.parts import backbones, captioner

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        backbone = load_backbone(config)
        seen, whole = backbones.look(backbone, data, config.cache, mirror=config.mirror)
        if whole is not data:
            print(f"  Note: {whole.notes[-1]}")
        data = whole
        vocabulary = caption_words.learn(data.train.captions, config.min_count)
        ids = {
            part: caption_words.encode(vocabulary, split.captions, config.max_words)
            for part, split in data.splits.items()
        }
        ids["mirrored"] = caption_words.encode(
            vocabulary, data.train.captions, config.max_words, mirrored=True
        )
        height, width, channels = backbone.output_shape[1:]
        print(f"{len(vocabulary):,} words; each image: {height} x {width} positions of {channels}")
        search = functools.partial(
            captioner.beam_search,
            max_words=config.max_words, beams=config.beams, length_penalty=config.length_penalty,
        )  # fmt: skip

        def build(backbone, attention):
            training, model = build_model(config, backbone, len(vocabulary), attention)
            compile_model(config, training, sum(map(len, ids["train"])))
            return training, model

        def batches(epoch=0):
            name = "image" if backbone.trainable else "features"
            return make_batches(config, name, seen, ids, epoch=epoch)

        def grids(backbone, part):
            return backbone.predict(seen[part], verbose=0) if backbone.trainable else seen[part]

        def measure(model, backbone):
            captions = captioner.describe(search, model, grids(backbone, "test"), vocabulary)
            return bleu.by_order(captions, references)

        training, model = build(backbone, config.attention)
        run.fit(training, *batches(run.epochs_done), monitor="val_loss", mode="min")

        references = [
            [" ".join(caption_data.words(caption)) for caption in of_image]
            for of_image in data.test.captions
        ]
        scores, baselines = measure(model, backbone), {}
        if config.baselines:
            alike = nearest.captions(
                grids(backbone, "train"), data.train.captions, grids(backbone, "test")
            )
            baselines["caption of the nearest training image"] = bleu.by_order(alike, references)
        if config.baselines and config.attention != "none":
            # The same decoder, trained alike, that weighs all positions alike at every step.
            other = load_backbone(config)
            training, alone = build(other, "none")
            run.fit_baseline("no attention", training, *batches())
            baselines["no attention"] = measure(alone, other)
        records.show_scores(scores, baselines)

        size, count = backbone.input_shape[1], min(config.parity_images, len(data.test))
        images = np.stack(list(data.test.take(range(count)).images(size)))
        forms = captioner.export(
            model, run.path, vocabulary, images, search=search, max_words=config.max_words
        )
        run.publish(
            model, data, title="Image captioning", scores=scores, baselines=baselines,
            exports=forms, card=card(config),
            maps=caption_maps.maps_of(config, model, data.test, vocabulary),
            plot="loss" if config.attention == "hard" else "accuracy",
        )  # fmt: skip


def card(config):
    """The words of the model card."""
    return {
        "What it does": (
            "Writes what is in an image as one sentence, in lower case, and for each word the "
            "`weights` with which it looked at the image positions: they sum to one over the "
            "grid."
        ),
        "Limits": (
            "It writes the most frequent kind of sentence for what it sees, in the words of its "
            "training captions; it counts badly, takes rare things for common ones, and guesses "
            "the sex and age of people from little. Nothing tells a certain caption from a guess. "
            "It must not decide about people, nor where someone's safety depends on it."
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


def predict(config):
    """Describe images, and draw where each word was seen."""
    run_folder.find_run(config.folder, recipe=NAME, files=[FORMS[config.form], "vocabulary.txt"])
    if not config.images:
        raise UserError("Expected one image file or more. Received none")
    if config.png and len(config.images) > 1:
        raise UserError(f"Expected a single image with --png. Received: {len(config.images)}")
    size, read = reader(config)
    for path in config.images:
        image = image_data.read_file(path, size)
        caption, weights = read(image)
        print(f"{path}: {caption}" if len(config.images) > 1 else caption, flush=True)
        if config.png:
            from recipes.parts import captioner

            with writing("--png", config.png):
                captioner.draw(image, caption, weights, config.png)


def reader(config):
    """The size of the images, and a function from one to its caption and weights `(L, H, W)`."""
    vocabulary = run_folder.read_lines(config.folder / "vocabulary.txt")
    signature = "caption" if config.form == "saved_model" else "greedy"
    run = exports.runner(config.folder / FORMS[config.form], signature)

    def read(image):
        outputs = run(image=image[None])
        return caption_words.decode(vocabulary, outputs["ids"])[0], outputs["weights"][0]

    return int(run.shapes["image"][1]), read


def explain(config):
    """Test whether the weights of a trained model explain its words, and write a page."""
    caption_maps.write(config, NAME, Config)


def web(config):
    """Write a page that runs a trained model in a browser."""
    from recipes.parts import caption_page

    caption_page.write(config, NAME)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    commands |= {"explain": (ExplainConfig, explain), "web": (WebConfig, web)}
    sys.exit(flags.command_line(__doc__, **commands))
