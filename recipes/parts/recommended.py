"""What a recommender answers: to one user in words, to many as a table.

    recommend = exports.runner(path, "recommend")
    for user, names in given(config).items():
        ...

`config` is a `PredictConfig` of the recipe.
"""

import json
import sys

import numpy as np

from recipes.baselines import ranking
from recipes.data import interactions
from recipes.kit import flags
from recipes.kit.errors import UserError


def card(config, recipe):
    """The words of the model card, for the recipe's `Config` and its name."""
    which = "`(B, T)`: for all ten together"
    if config.attention == "target":
        which = "`(B, 10, T)`: for each of the items"
    return {
        "What it does": (
            "Takes the items that a user took, in order, and returns the ten best of those not "
            f"among them, a score for each, and how much each past item counted (`weights` "
            f"{which}; they sum to one). It sees the last {config.max_history} items."
        ),
        "How it was measured": ranking.PROTOCOL,
        "Limits": (
            "It knows the items it was trained with, and no new ones; of a user it knows the "
            "history alone. It repeats what users did: what was popular or shown to them it "
            "recommends again. The weights tell where the model looked, not why the user would "
            "want the item. With few past items it knows little more than what is popular."
        ),
        "How to use": (
            f"    python -m recipes.{recipe} predict FOLDER ITEM ITEM ...\n\n"
            "All forms have one signature, `recommend`: `history` int32 `(B, T)`, the oldest item "
            "first, padded at the left with 0, to `items` `(B, 10)`, `scores` and `weights`. Item "
            "n stands in line n of `items.txt`, with its title, also in each TFLite file (a zip)."
        ),
    }


def answer(config, catalogue, recommend):
    """Prints what is recommended to one user, or to each user of a file.

    Args:
        config: A `PredictConfig`.
        catalogue: `recipes.parts.catalogue.Catalogue`.
        recommend: Function of `history`, int32 `(1, T)`, to a dict of arrays, as of an export.

    Raises:
        UserError: If nothing is given, or a single user has no item that the model knows.
    """
    if config.users is None:
        names = flags.given_or_read(config.items, config.file, "past items")
        users = {None: [name.strip() for name in names if name.strip()]}
    elif config.items or config.file:
        raise UserError("Expected past items of one user, or --users. Received both")
    else:
        users = flags.call(interactions.read_histories, config, config.users)
    if config.format == "tsv":
        print("user", "rank", "item", "title", "score", sep="\t")
    unknown = 0
    for user, names in users.items():
        history, left_out = _known(catalogue, names, is_exact=user is not None)
        unknown += len(left_out)
        if user is None:
            for reason in left_out:
                print(f"Note: left out: {reason}", file=sys.stderr)
            if not history:
                raise UserError(f"None of the items is one that the model knows: {left_out[0]}")
        best = _Best(catalogue, history, recommend, config.top)
        _WRITERS[config.format](user, best)
    if unknown and config.users:
        print(f"Note: {unknown:,} items that the model does not know, left out", file=sys.stderr)


def _known(catalogue, names, *, is_exact):
    """Numbers of the items that are known, and why each other one is not."""
    numbers, left_out = [], []
    for name in names:
        try:
            numbers.append(catalogue.number(name) if is_exact else catalogue.find(name))
        except UserError as error:
            left_out.append(str(error))
    return numbers, left_out


class _Best:
    """The best items for a history: rows of an item, its score and what they are because of."""

    def __init__(self, catalogue, history, recommend, top):
        self.catalogue, self.history = catalogue, history
        self.rows, self.weights = [], None
        if not history:
            return
        outputs = recommend(history=np.array([history], "int32"))
        self.weights = outputs["weights"][0]  # (T,), or of each item (10, T)
        found = zip(outputs["items"][0, :top], outputs["scores"][0], strict=False)
        for rank, (item, score) in enumerate(found):
            if item in history:  # nothing else is left
                break
            of_item = self.weights if self.weights.ndim == 1 else self.weights[rank]
            self.rows.append((int(item), float(score), of_item))

    def because(self, weights):
        return self.catalogue.heaviest(self.history, weights)


def _write_text(user, best):
    if user is not None:
        print(f"{user}:" if best.rows else f"{user}: no item that the model knows")
    is_for_all = best.rows and best.weights.ndim == 1
    if is_for_all:
        print(f"Past items that counted: {best.because(best.weights)}")
    for rank, (item, score, weights) in enumerate(best.rows, start=1):
        line = f"{rank:2}. {best.catalogue.name(item)}  {score:.4f}"
        print(line if is_for_all else f"{line}  because of {best.because(weights)}", flush=True)


def _write_tsv(user, best):
    for rank, (item, score, _) in enumerate(best.rows, start=1):
        print(user or "", rank, best.catalogue.line(item), f"{score:.6f}", sep="\t", flush=True)


def _write_jsonl(user, best):
    items = [
        {
            "item": best.catalogue.items[item - 1],
            "title": best.catalogue.titles[item - 1],
            "score": round(score, 6),
        }
        for item, score, _ in best.rows
    ]
    print(json.dumps({"user": user, "items": items}, ensure_ascii=False), flush=True)


_WRITERS = {"text": _write_text, "tsv": _write_tsv, "jsonl": _write_jsonl}
FORMATS = tuple(_WRITERS)
