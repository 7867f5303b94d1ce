"""Pages of classifiers of texts: a recipe's `web` in one call.

write(config, NAME)                # of a `WebConfig`; a model of `ids` with `weights`
write_documents(config, NAME)      # of a `DocumentsWebConfig`; with `sentences` and `words`
"""

import dataclasses

import numpy as np

from recipes.kit import web
from recipes.kit.errors import cannot_load
from recipes.kit.flags import argument, option
from recipes.text import classifier, sentences, wordpiece

_SAMPLES = 24  # on which the file is compared with the model, beside the examples
_OUTPUTS = "probability", "weights", "sentences", "words"


@dataclasses.dataclass(frozen=True)
class WebConfig(web.WebConfig):
    """What `web` can be told."""

    texts: tuple[str, ...] = argument("examples that the page offers", nargs="*")
    length: int = option(256, "word pieces of a text that the page reads", low=8, high=10_000)


@dataclasses.dataclass(frozen=True)
class DocumentsWebConfig(WebConfig):
    """What `web` can be told."""

    length: int = option(30, "sentences of a document that the page reads", low=1, high=1000)


def write(config, recipe):
    """Writes a page that shades the words of a text.

    Args:
        config: A `WebConfig`.
        recipe: String, the recipe's name.
    """
    from recipes.parts import encoders, ngrams  # noqa: F401  (their layers, to load the model)

    with web.new_page(config, recipe, classifier.FILES) as page:
        vocabulary, labels = _words(config.folder)
        rng = np.random.default_rng(0)
        samples = np.zeros((_SAMPLES, config.length), "int32")
        # From no piece at all to as many as there can be.
        for row, count in zip(samples, _counts(config.length), strict=True):
            row[:count] = rng.integers(1, len(vocabulary), count)
        for row, text in zip(samples, config.texts, strict=False):
            ids = _encode(vocabulary, text)[: config.length]
            row[:] = 0
            row[: len(ids)] = ids
        _export(page, page.load_model(), samples)
        _write(page, vocabulary, labels, limit=f"this page reads {config.length} word pieces")


def write_documents(config, recipe):
    """Writes a page that shades the sentences and the words of a document.

    The page splits the sentences, for a model does not split into a fixed number of them.

    Args:
        config: A `DocumentsWebConfig`.
        recipe: String, the recipe's name.
    """
    import keras

    from recipes.parts import encoders, ngrams  # noqa: F401  (their layers, to load the model)

    with web.new_page(config, recipe, classifier.FILES) as page:
        vocabulary, labels = _words(config.folder)
        model = page.load_model()
        split = model.get_layer("split")
        behind = keras.Model(split.output, model.output)
        columns, most = split.output.shape[-1], split.max_words
        kinds = sentences.kinds_of(vocabulary)
        rng = np.random.default_rng(0)
        samples = np.zeros((_SAMPLES, config.length, columns), "int32")
        for grid, count in zip(samples, _counts(config.length), strict=True):
            for row, words in zip(grid, rng.integers(1, most + 1, count), strict=False):
                row[:words] = rng.integers(1, len(vocabulary), words)
        for grid, text in zip(samples, config.texts, strict=False):
            ids = _encode(vocabulary, sentences.mark_paragraphs(text))
            found = sentences.split(ids, kinds, most)[: config.length]
            grid[:] = 0
            grid[: len(found)] = sentences.grid([found or [[]]], most, columns - most)[0]
        _export(page, behind, samples)
        _write(
            page, vocabulary, labels,
            limit=f"this page reads {config.length} sentences",
            words=most, columns=columns, kinds="".join(map(str, kinds)),
        )  # fmt: skip


def _words(folder):
    """The lines of the vocabulary and of the labels."""
    try:
        return [
            (folder / name).read_text(encoding="utf-8").split("\n")[:-1]
            for name in classifier.FILES
        ]
    except (OSError, ValueError) as error:
        raise cannot_load(folder, error) from error


def _counts(most):
    return np.linspace(0, most, _SAMPLES).astype(int)


def _encode(vocabulary, text):
    index = {piece: number for number, piece in enumerate(vocabulary)}
    return wordpiece.encode(index, text, cased=wordpiece.is_cased(vocabulary))


def _export(page, model, samples):
    import keras_attention as ka

    def read(model, ids):
        outputs = model(ids, training=False)
        return {name: outputs[name] for name in _OUTPUTS if name in outputs}

    shape = (1, *samples.shape[1:])
    signature = ka.Signature(
        "ids", read, {"ids": (shape, "int32")}, samples, decision="probability"
    )
    page.export(model, [signature])


def _write(page, vocabulary, labels, **settings):
    page.write(
        "texts",
        scripts=["sentences.js", "shading.js", "tokenizer.js"],
        files={
            "vocabulary.txt": vocabulary,
            "labels.txt": labels,
            "characters.json": wordpiece.characters(cased=wordpiece.is_cased(vocabulary)),
        },
        settings={"length": page.config.length, "examples": page.config.texts, **settings},
    )
