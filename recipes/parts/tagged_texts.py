"""What a tagger says of texts: in words, as a table that training could read, or as JSON.

read = Reader.load(folder, NAME, "model.tflite")
said = read(tokens)                                # `Said`: tags, spans, intent and weights
answer(config, read)                               # of a `PredictConfig` of the recipe
"""

import dataclasses
import json
import re

import numpy as np

from recipes.kit import exports, run_folder
from recipes.kit.errors import cannot_load
from recipes.kit.spans import spans_of
from recipes.text import classifier, token_features

FILES = ("features.txt", "tags.txt", "intents.txt")
FORMATS = ("text", "tsv", "jsonl")


TOLD = {
    "slots": "the tag of each token, by which spans of tokens are found",
    "intent": "the intent of the sentence",
}
MEASURED = {
    "slots": (
        "`slot_f1` is F1 over all spans of the test split together, of which one counts if its "
        "type and both its ends are right; tags are read as the package seqeval reads them by "
        "default. `sentence_accuracy` is the share of sentences of which all that is told is "
        "right. The linear model of tags is a maximum-entropy Markov model over words, affixes and "
        "shapes of five tokens."
    ),
    "intent": (
        "`intent_accuracy` is the share of sentences with the right intent. The linear model of "
        "intents is a support vector machine over tf-idf."
    ),
}
LIMITS = {
    "slots": "It knows the tags of its training data alone.",
    "intent": (
        "It knows the intents of its training data alone and always tells one of them, also of a "
        "sentence that has none."
    ),
}
OUTPUTS = {
    "slots": (
        "`tag_probability` `(B, T, C)`, tag n in line n of `tags.txt`, `tag_weights` `(B, T, T)`"
    ),
    "intent": (
        "`intent_probability` `(B, I)`, intent n in line n of `intents.txt`, `intent_weights` "
        "`(B, T)`"
    ),
}


def card(config):
    """The words of the model card, for the recipe's `Config`."""

    def of_tasks(words, separator=" "):
        return separator.join(words[task] for task in config.tasks.split(","))

    return {
        "What it does": (
            f"Tells {of_tasks(TOLD, ', and ')}, and how much each token counted for it: weights "
            "that sum to one."
        ),
        "How it was measured": of_tasks(MEASURED),
        "Limits": (
            f"{of_tasks(LIMITS)} It reads one sentence. What it makes of unknown words rests on "
            "their letters and on the words around them. A weight tells where the model looked, "
            "not why."
        ),
        "How to use": (
            '    python -m recipes.tagging predict FOLDER "A text"\n\n'
            "All forms have one signature, `ids`: int32 `(B, T, 4)`, the four features of each "
            "token (`split`, `features` and `encode` in `recipes/text/token_features.py`, short "
            f"enough to port), to {of_tasks(OUTPUTS, ', ')}. Feature n is in line n of "
            "`features.txt`; all lines are counted from 0. These text files are also inside each "
            "TFLite file, which is a zip archive too."
        ),
    }


@dataclasses.dataclass(frozen=True)
class Said:
    """What the model says of a sentence of T tokens.

    Attributes:
        tags: List of T strings, or `None` if the model finds no slots.
        spans: List of `(type, start, end)` in tokens.
        tag_weights: Float array `(T, T)`: what the model looked at for each tag; or `None`.
        intent: String, or `None` if the model finds no intent.
        probability: Float, that of the intent.
        intent_weights: Float array `(T,)`: what it looked at for the intent; or `None`.
    """

    tags: list | None = None
    spans: list = ()
    tag_weights: np.ndarray | None = None
    intent: str | None = None
    probability: float | None = None
    intent_weights: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Reader:
    """An exported tagger.

    Attributes:
        index: Dict from a feature of a token to its id.
        words: Set of the words that it knows.
        tags, intents: Lists of strings, empty where the model has no such task.
        run: Function of `ids`, int32 `(1, T, 4)`, to a dict of arrays.
    """

    index: dict
    words: set
    tags: list
    intents: list
    run: object

    @classmethod
    def load(cls, folder, recipe, file):
        """Loads the form in `file` of a run folder of a recipe.

        Raises:
            UserError: If there is no such run or a part of it cannot be read.
        """
        run_folder.find_run(folder, recipe=recipe, files=[file, *FILES])
        lines = []
        for name in FILES:
            try:
                lines.append((folder / name).read_text(encoding="utf-8").split("\n")[:-1])
            except (OSError, ValueError) as error:
                raise cannot_load(folder / name, error) from error
        vocabulary, tags, intents = lines
        run = exports.runner(folder / file, "ids")
        return cls(
            token_features.index_of(vocabulary),
            token_features.known_words(vocabulary),
            tags,
            intents,
            run,
        )

    def __call__(self, words):
        """`Said` of a list of tokens."""
        count = len(words)
        ids = np.zeros((1, max(1, count), len(token_features.KINDS)), "int32")
        ids[0, :count] = token_features.encode(self.index, words)
        outputs = {name: x[0] for name, x in self.run(ids=ids).items()}
        said = {}
        if self.tags:
            found = [self.tags[best] for best in outputs["tag_probability"].argmax(-1)[:count]]
            weights = outputs["tag_weights"][:count, :count]
            said |= {"tags": found, "spans": spans_of(found), "tag_weights": weights}
        if self.intents:
            probability = outputs["intent_probability"]
            said |= {
                "intent": self.intents[int(probability.argmax())],
                "probability": float(probability.max()),
                "intent_weights": outputs["intent_weights"][:count],
            }
        return Said(**said)


def answer(config, read):
    """Prints what the model says of each text that is given.

    Args:
        config: A `PredictConfig` of the recipe.
        read: `Reader`.

    Raises:
        UserError: If no text is given, or it cannot be read.
    """
    if config.format == "tsv":
        print(*_columns(read), sep="\t")
    for text in classifier.given_texts(config, "texts"):
        if config.tokenized:
            places = [found.span() for found in re.finditer(r"\S+", text)]
        else:
            _, places = token_features.split(text, read.words)
        words = [text[start:end] for start, end in places]
        print(_WRITERS[config.format](read, text, words, places, read(words)), flush=True)


def _columns(read):
    """The columns of a table, of which the first are those that `train` reads."""
    tags = ["tags"] if read.tags else []
    return ["tokens", *tags, *(["intent", "probability"] if read.intents else [])]


def _as_text(read, text, words, places, said):
    """The intent and the text, shaded by what was looked at for it; a line for each slot."""
    from keras_attention.explain.highlight import shade

    lines = [text]
    if said.intent is not None:
        shaded = shade(text, places, said.intent_weights)
        lines = [f"{said.intent} {said.probability:.3f}  {shaded}"]
    width = max((len(kind) for kind, _, _ in said.spans), default=0)
    lines += [f"    {kind:{width}}  {' '.join(words[a:b])}" for kind, a, b in said.spans]
    return "\n".join(lines)


def _as_tsv(read, text, words, places, said):
    row = {"tokens": " ".join(words), "tags": " ".join(said.tags or ())}
    if said.intent is not None:
        row |= {
            "intent": " ".join(said.intent.split("\t")),
            "probability": f"{said.probability:.6f}",
        }
    return "\t".join(row[name] for name in _columns(read))


def _as_json(read, text, words, places, said):
    answer = {"tokens": words}
    if said.tags is not None:
        answer["tags"] = said.tags
        answer["spans"] = [
            {
                "type": kind,
                "text": " ".join(words[a:b]),
                "start": places[a][0],
                "end": places[b - 1][1],
                "weights": _rounded(said.tag_weights[a:b].mean(0)),
            }
            for kind, a, b in said.spans
        ]
    if said.intent is not None:
        answer |= {"intent": said.intent, "probability": round(said.probability, 6)}
        answer["weights"] = _rounded(said.intent_weights)
    return json.dumps(answer, ensure_ascii=False)


def _rounded(weights):
    return [round(float(weight), 6) for weight in weights]


_WRITERS = {"text": _as_text, "tsv": _as_tsv, "jsonl": _as_json}
