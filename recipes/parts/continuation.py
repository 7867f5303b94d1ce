"""How a text goes on: what a language model writes, token by token, and how it is shown.

    step = exports.runner(path, "step")
    answer(config, tokens, step)

The tokens are drawn here and not in the exported file, so that each one can be shown at once, and
any temperature be used with any form.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from recipes.data import tables
from recipes.kit import flags
from recipes.kit.flags import argument, option
from recipes.text.tokens import BORDER, PAD, UNKNOWN

FORMATS = ("text", "tsv", "jsonl")
_LOST = "\N{REPLACEMENT CHARACTER}"


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    texts: tuple[str, ...] = argument(
        'texts to continue, "" for a new one; none: the lines of standard input', nargs="*"
    )
    file: Path | None = option(None, "file with a text per line, or csv, tsv or jsonl")
    text_column: str = option("text", "column of the text in a table")
    format: str = option("text", "how answers are written", choices=FORMATS)
    length: int = option(300, "tokens to write, at most", low=1, high=1_000_000)
    temperature: float = option(
        0.8, "below 1 likely tokens become more likely, above 1 less; 0: always the likeliest",
        low=0.0, high=100.0,
    )  # fmt: skip
    top_k: int | None = option(None, "sample from the k most probable tokens", low=1)
    top_p: float | None = option(
        None,
        "sample from the fewest tokens whose probabilities sum to p (nucleus sampling)",
        low=1e-6,
        high=1.0,
    )
    seed: int = option(0, "seed of the sampling", low=0)


def card(config):
    """The words of the model card, for the recipe's `Config`."""
    from recipes.parts import language_model

    kind = f"a transformer, positions: {config.position}"
    if config.architecture == "recurrent":
        kind = f"a GRU that attends to its last {config.window} states"
    return {
        "What it does": (
            f"Continues texts, one of its {config.tokens} after another ({kind}). It sees the last "
            f"{config.context} at most.\n\n![Where it looked](attention.png)"
        ),
        "How it was measured": language_model.protocol(config.context, config.tokens),
        "Limits": (
            "It writes what looks like its training text, and knows nothing of the world: what it "
            "says is made up. It repeats what stood in that text, also what should not be "
            "repeated, and forgets what is further back than its context."
        ),
        "How to use": (
            '    python -m recipes.language_modeling predict FOLDER "A text"\n\n'
            "`step` reads `tokens` `(B, T)` and a state, tensors that are all zeros at first, and "
            "gives the `logits` of each next token and the next state, for at most "
            f"{config.context} tokens; then begin anew with the last half. `generate` takes `ids` "
            "`(B, T)`, padded at the left with 0, reads the last half of the context and goes on "
            f"by greedy search, in one loop: {config.context // 2} tokens, 0 after the end of a "
            "document. The SavedModel's `sample` samples them instead, by a `temperature` and a "
            f"`seed`. The id {BORDER} marks the beginning and the end of a document. `tokens.json` "
            "has the tokens, also inside each TFLite file, which is a zip archive too."
        ),
    }


def answer(config, tokens, step):
    """Prints how each text goes on.

    Args:
        config: A `PredictConfig`.
        tokens: `recipes.text.tokens.Characters` or `Pieces`.
        step: Function of `tokens` and a state to a dict of `logits` and the next state, with the
            `shapes` of what it takes, as `exports.runner` gives it.

    Raises:
        UserError: If there is no text, or it cannot be read.
    """
    rng = np.random.default_rng(config.seed)

    def choose(logits):
        return drawn(logits, config.temperature, config.top_k, config.top_p, rng)

    if config.format == "tsv":
        print("text", "continuation", sep="\t")
    for number, text in enumerate(_given(config)):
        ids = tokens.encode(text)
        if unknown := int((ids == UNKNOWN).sum()):
            print(f"Note: {unknown} of the text's characters are unknown", file=sys.stderr)
        written = continued(step, ids, config.length, choose)
        if config.format == "text":
            print("\n" * (number > 0), text, sep="", end="", flush=True)
            for part in parts(tokens, written):
                print(part, end="", flush=True)
            print(flush=True)
            continue
        row = {"text": text, "continuation": "".join(parts(tokens, written))}
        shown = json.dumps(row, ensure_ascii=False)
        if config.format == "tsv":  # a line for each text: line ends as JSON writes them
            shown = "\t".join(json.dumps(x, ensure_ascii=False)[1:-1] for x in row.values())
        print(shown, flush=True)


def _given(config):
    if config.texts or not config.file or not tables.is_table(config.file):
        return flags.given_or_read(config.texts, config.file, "texts")
    return [text for _, text in tables.read(config.file, {config.text_column: "text"})]


def continued(step, ids, length, choose):
    """Yields the tokens after a text, until its end, and so many at most.

    A full context is given up: the text is read anew from the middle of it on.

    Args:
        step: As in `answer`.
        ids: Integer array, the tokens of the text.
        length: Integer.
        choose: Function of logits `(V,)` to a token.
    """
    empty = {
        name: np.zeros((1, *shape[1:]), _dtype(name))
        for name, shape in step.shapes.items()
        if name != "tokens"
    }
    context = empty["mask_1"].shape[1]
    text, state, read = [BORDER, *map(int, ids)], None, 0
    for _ in range(length):
        if state is None or read == context:
            given, state = text[-(context - context // 2) :], empty
            read = 0
        else:
            given = text[-1:]
        outputs = step(tokens=np.array([given], "int32"), **state)
        state = {name: outputs[name] for name in empty}
        read += len(given)
        token = choose(outputs["logits"][0, -1])
        if token == BORDER:
            return
        text.append(token)
        yield token


def _dtype(name):
    """The dtype of a part of the state."""
    if name.startswith("mask"):
        return "bool"
    return "int32" if name in ("index", "padding") else "float32"


def drawn(logits, temperature, top_k=None, top_p=None, rng=None):
    """A token by its probability, as `ka.sample` draws it; at temperature 0 the likeliest.

    >>> drawn(np.array([9.0, 9.0, 1.0, 2.0]), 0)     # padding and unknown are never written
    3
    """
    logits = np.asarray(logits, "float64").copy()
    logits[[PAD, UNKNOWN]] = -np.inf
    if temperature == 0:
        return int(logits.argmax())
    best = np.argsort(-logits, kind="stable")[:top_k]
    p = np.exp((logits[best] - logits[best[0]]) / max(temperature, 1e-30))
    p /= p.sum()
    if top_p is not None:
        p = np.where(np.cumsum(p) - p < top_p, p, 0.0)
    return int(rng.choice(best, p=p / p.sum()))


def parts(tokens, ids):
    """Yields the text of tokens as soon as it is certain: a character may have several pieces."""
    held = []
    for token in ids:
        held.append(token)
        text = tokens.decode(held)
        if text.endswith(_LOST) and len(held) < 8:
            continue
        yield text
        held = []
    if held:
        yield tokens.decode(held)
