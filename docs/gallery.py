"""Draws the pictures of docs/gallery.md from finished toy runs: python -m docs.gallery RUNS

RUNS is a folder with the runs of all recipes on toy data, under their names, and `transformer`, a
translation with `--architecture transformer`.
"""

import shutil
import sys
from pathlib import Path

import keras
import numpy as np

import keras_attention as ka

PICTURES = Path(__file__).parent / "pictures"


def rollout(runs):
    """A small vision transformer that was trained to tell squares from crosses."""
    size, patch = 24, 4
    rng = np.random.default_rng(0)

    def pictures(count):
        images = rng.uniform(0, 0.55, (count, size, size, 3))
        labels = rng.integers(0, 2, count)
        for image, label, (top, left) in zip(
            images, labels, rng.integers(1, 16, (count, 2)), strict=True
        ):
            if label:
                image[top : top + 7, left : left + 7] = (0.95, 0.75, 0.2)
            else:
                image[top + 2 : top + 5, left : left + 7] = (0.95, 0.75, 0.2)
                image[top : top + 7, left + 2 : left + 5] = (0.95, 0.75, 0.2)
        return images.astype("float32"), labels

    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(32, patch, strides=patch)(inputs)
    x = keras.layers.Reshape((-1, 32))(x)  # (B, 36, 32)
    x = ka.PositionEmbedding(max_length=(size // patch) ** 2)(x)
    for number in (1, 2, 3):
        block = ka.TransformerEncoderBlock(64, num_heads=2, norm_first=True, name=f"block_{number}")
        x = block(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.002), loss, metrics=["accuracy"])
    model.fit(*pictures(2000), epochs=8, batch_size=64, verbose=0)
    images, labels = pictures(200)
    print("rollout: accuracy", model.evaluate(images, labels, verbose=0, return_dict=True))
    maps = ka.attention_maps(model, images[:1])
    last, through_all = maps["block_3"][0].mean(0), ka.attention_rollout(maps)[0]  # (36, 36) each
    grid = size // patch, size // patch
    panels = np.stack([weights.mean(0).reshape(grid) for weights in (last, through_all)])
    return ka.plot_image_attention(images[0], panels, ["the last block alone", "rollout"])


def sentiment(runs):
    from recipes.text import classifier

    read = classifier.Reader.load(runs / "sentiment_analysis", "sentiment_analysis", "model.tflite")
    text = "The soup was cold, but it was not bad."
    label, probability, outputs = read(text)
    spans, weights = read.words(text, outputs["weights"])
    words = [text[start:end] for start, end in spans]
    return ka.plot_attention(weights, words, title=f"{label}, {probability:.2f}")


def documents(runs):
    from recipes.data.toy import documents as toy
    from recipes.text import classifier, hierarchy

    name = "document_classification"
    read = classifier.Reader.load(runs / name, name, "model.tflite")
    text = toy.splits()[2][0].text
    answer = hierarchy.answer(read, text)
    spans, weights = answer.sentences
    sentences = [" ".join(text[start:end].split()) for start, end in spans]
    short = [s if len(s) < 60 else s[:57] + "..." for s in sentences]
    return ka.plot_attention(weights, short, title=f"{answer.label}, {answer.probability:.2f}")


def recommendation(runs):
    from recipes.data.toy import interactions as toy
    from recipes.kit import exports
    from recipes.parts.catalogue import Catalogue

    folder = runs / "recommendation"
    history = toy.generate(10, seed=1)[3].items[:9]
    catalogue = Catalogue.load(folder / "items.txt")
    ids = [catalogue.items.index(item) + 1 for item in history]
    run = exports.runner(folder / "model.tflite", "recommend")
    outputs = run(history=np.array([ids], "int32"))
    books, best = [catalogue.name(number) for number in ids], outputs["items"][0, 0]
    title = f"next: {catalogue.name(best)}"
    return ka.plot_attention(outputs["weights"][0], books, title=title)


def tagging(runs):
    """Where the intent and each slot of a command come from."""
    from recipes.parts import tagged_texts

    read = tagged_texts.Reader.load(runs / "tagging", "tagging", "model.tflite")
    tokens = "Leaving by train please cancel the order for Mina Sula on friday".split()
    said = read(tokens)
    weights = [said.intent_weights, *(said.tag_weights[start] for _, start, _ in said.spans)]
    slots = [f"{kind}: {' '.join(tokens[start:end])}" for kind, start, end in said.spans]
    return ka.plot_alignment(np.stack(weights), [f"intent: {said.intent}", *slots], tokens)


def matching(runs):
    """Which words of an answer the words of a question compare themselves with."""
    from recipes.data.toy import questions as toy
    from recipes.parts import ranked

    rank = ranked.Ranker.load(runs / "text_matching", "model.tflite")
    pair = next(pair for pair in toy.splits()[2] if pair.label)
    return ka.plot_alignment(*rank.alignment(pair.query, pair.document))


def reading(runs):
    """Which words of a question the words of two sentences look at."""
    from recipes.data.toy import facts as toy
    from recipes.parts import answered

    read = answered.Reader.load(runs / "question_answering", "question_answering", "model.tflite")
    asked = toy.splits()[2][0]
    said = read(asked.question, asked.context)
    words = [asked.context[start:end] for start, end in said.spans]
    end = words.index(".", words.index(asked.matching[1])) + 1  # of the one with the answer
    return ka.plot_alignment(said.weights[end - 9 : end + 9], words[end - 9 : end + 9], said.asked)


def heads(runs):
    """Where the heads of the transformer's last decoder block but one looked."""
    from recipes.data.toy import translation as toy
    from recipes.text import wordpiece
    from recipes.text.languages import END, START, Languages

    folder = runs / "transformer"
    model = keras.models.load_model(folder / "model.keras", compile=False)
    languages, pair = Languages.load(folder), toy.splits()[2][4]
    source, target = (
        np.append(wordpiece.tokenize(reader, [text])[0], END)
        for reader, text in zip(languages.readers, (pair.source, pair.target), strict=True)
    )
    given = np.insert(target[:-1], 0, START)
    maps = ka.attention_maps(model, {"source": source[None], "target": given[None]})
    over_memory = [name for name in maps if name.endswith("memory")]
    pieces = [
        [vocabulary[number] for number in ids]
        for vocabulary, ids in ((languages.target, target), (languages.source, source))
    ]
    return ka.plot_alignment(maps[over_memory[-2]][0], *pieces)


def classification(runs):
    """Which part of a picture its class was read from."""
    from recipes.data.toy import marks as toy
    from recipes.parts import classified

    image = toy.splits()[2][1].image
    label, probability, weights = classified.reader(runs / "image_classification", "model.tflite")(
        image
    )
    return ka.plot_image_attention(image, weights, [f"{label} {probability:.3f}"])


def action(runs):
    """Which frames of a clip an action was read from."""
    from recipes.data.toy import figures as toy
    from recipes.parts import watched

    name = "action_recognition"
    watch = watched.Watcher.load(runs / name, name, "model.tflite")
    frames = toy.splits()[2][0].frames
    outputs = {key: x[0] for key, x in watch.run(frames=frames[None]).items()}
    found = watched.Watched("clip", frames, outputs["probability"], outputs["weights"])
    best = outputs["probability"].argmax()
    title = f"{watch.facts.labels[best]} {outputs['probability'][best]:.3f}"
    return watched.figure(found, watch.facts, title)


DRAWN = (
    rollout, sentiment, documents, recommendation, tagging, matching, reading, heads,
    classification, action,
)  # fmt: skip
# What the runs drew themselves.
COPIED = {
    "translation": "translation/alignment.png",
    "captioning": "image_captioning/attention.png",
    "language": "language_modeling/attention.png",
    "speech": "speech_recognition/alignment.png",
    "summary": "summarization/copied.png",
    "detection": "object_detection/found.png",
    "segmentation": "image_segmentation/gates.png",
}


def main(runs):
    for function in DRAWN:
        keras.utils.set_random_seed(0)
        figure = function(runs)
        figure.savefig(PICTURES / f"{function.__name__}.png", bbox_inches="tight", pad_inches=0.1)
    for name, file in COPIED.items():
        shutil.copy(runs / file, PICTURES / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
