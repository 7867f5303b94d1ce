"""Exporting two towers, and what they find: the best of many texts, by one matrix product.

figures = export(model, folder, texts, config)
search = Searcher.load(folder, "model.tflite")
for match in search(query, documents, 10): ...
"""

import numpy as np

from recipes.baselines import matching
from recipes.kit import exports, run_folder
from recipes.parts import ranked
from recipes.parts.ranked import BOUNDS, FILES, SIDES, Match, Words, strings, with_two_steps
from recipes.text import wordpiece

_BATCH = 256  # texts in one call


def card(config):
    """The words of the model card of two towers, for the recipe's `Config`."""
    return {
        "What it does": (
            "Makes a vector of a query and one of a text: the higher their product, which is their "
            "cosine, the better the text matches. The vectors of many texts are made once; a query "
            "then finds the best of them by one matrix product. `weights` tells how much each "
            "word counted in a vector; they sum to one."
        ),
        "How it was measured": f"{matching.PROTOCOL} The model reads each text alone.",
        "Limits": (
            "It finds the best of the texts, and not whether any of them answers the query. Of a "
            f"text it reads the first {config.max_steps} word pieces. It learned words from its "
            "training texts alone. A text becomes one vector before the query is known: where few "
            "candidates are compared, the models that read both together rank better."
        ),
        "How to use": (
            '    python -m recipes.text_matching predict FOLDER "a question" --file FILE\n\n'
            "The signatures `query` and `document` take raw `text` and need tensorflow-text's "
            "operators; `query_ids` and `document_ids` take its word pieces and run in any "
            "interpreter, with `vocabulary.txt` in the file itself (a TFLite file is also a zip "
            "archive). All return `vector` and `weights`. `saved_model` loads after `import "
            "tensorflow_text`." + exports.OF_IDS_ALONE * (not config.text_signature)
        ),
    }


def export(model, folder, texts, config):
    """Writes all forms of the encoders of queries and of documents: of raw text, and of ids.

    Args:
        model, folder, texts: As for `ranked.export`, of two towers.
        config: The recipe's `Config`, which tells how many texts of each kind are compared.

    Returns:
        As `kit.exports.export`; the forms agree where the text that is nearest to another is the
        same.
    """
    import tensorflow as tf

    import keras_attention as ka
    from recipes.data.batches import pad

    rows = texts.rows["test"]
    tokenizer = wordpiece.tokenizer_of(texts.vocabulary)
    pieces = tf.constant(texts.vocabulary)

    def signatures(side, column, ids):
        def read_ids(model, ids):
            return model.get_layer(f"{side}_encoder")(with_two_steps(ids), training=False)

        def read_text(model, text):
            ids = tokenizer.tokenize(text).to_tensor()
            return {**read_ids(model, ids), "pieces": tf.gather(pieces, with_two_steps(ids))}

        different = [column.index(text) for text in dict.fromkeys(column)][: config.parity_queries]
        text = {"text": strings(column[row] for row in different)}
        ids = {
            "ids": pad(
                [ids[row] for row in different], max(2, *(len(ids[row]) for row in different))
            )
        }
        yield ka.Signature(
            side, read_text, {"text": ((None,), "string")}, text,
            resources=[tokenizer], text=True, decision=nearest,
        )  # fmt: skip
        yield ka.Signature(
            f"{side}_ids", read_ids, {"ids": ((None, None), "int32")}, ids, decision=nearest
        )

    def nearest(outputs):
        products = outputs["vector"] @ outputs["vector"].T
        return np.argmax(products - 9 * np.eye(len(products)), axis=1)

    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[
            signature
            for side, column, ids in zip(
                SIDES, (rows.queries, rows.documents), texts.ids["test"], strict=True
            )
            for signature in signatures(side, column, ids)
        ],
        bounds=BOUNDS,
        files={FILES[0]: texts.vocabulary},
        text_signature=config.text_signature,
    )


class Searcher:
    """Exported towers, to be called with a query and a list of texts.

    The vectors of the texts are kept for further queries over the same list: a million takes less
    than a gigabyte.
    """

    def __init__(self, words, encode_query, encode_document):
        self._words, self._query, self._document = words, encode_query, encode_document
        self._documents = self._vectors = None

    @classmethod
    def load(cls, folder, file):
        """Loads the form in `file` of a run folder, or raises `UserError`."""
        words = Words.load(folder)
        encoders = [
            wordpiece.runner(folder / file, words.tokenizer, (side, f"{side}_ids"), {"text": "ids"})
            for side in SIDES
        ]
        return cls(words, *encoders)

    def __call__(self, query, documents, top=None):
        """The `Match`es of the `top` best texts, the best first; of equal ones the first."""
        if documents is not self._documents:
            self._documents, self._vectors = documents, self._vectors_of(documents)
        scores = self._vectors @ self._query(text=strings([query]))["vector"][0]  # (N,)
        top = min(top or len(documents), len(documents))
        best = np.argpartition(-scores, top - 1)[:top]
        best = best[np.lexsort([best, -scores[best]])]
        return [
            Match(1 + int(row), documents[row], float(scores[row]), self._weights(documents[row]))
            for row in best
        ]

    def _vectors_of(self, documents):
        order = sorted(range(len(documents)), key=lambda row: len(documents[row]))  # little padding
        vectors = None
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            found = self._document(text=strings([documents[row] for row in rows]))["vector"]
            if vectors is None:
                vectors = np.empty((len(documents), found.shape[1]), "float32")
            vectors[rows] = found
        return vectors

    def _weights(self, document):
        """For each word of a text its weight in the text's vector."""
        weights = self._document(text=strings([document]))["weights"][0]
        words, starts = self._words.spans(document, len(weights))
        weights = np.add.reduceat(weights, starts) if starts else weights
        return [
            (word, round(float(weight), 4)) for word, weight in zip(words, weights, strict=False)
        ]


def load(folder, recipe, file):
    """The `Searcher` of two towers, or the `ranked.Ranker` of another model, of a run folder.

    Raises:
        UserError: If there is no such run or a part of it cannot be read.
    """
    metrics = run_folder.find_run(folder, recipe=recipe, files=[file, *ranked.FILES])
    is_encoder = metrics["details"]["architecture"] == "encoder"
    return (Searcher if is_encoder else ranked.Ranker).load(folder, file)
