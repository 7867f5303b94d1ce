"""Attention maps of recommenders, to be tested; see `kit.explaining`.

The decision is the item that the model would recommend first. What is removed are past items.
"""

import numpy as np

from recipes.data import interactions
from recipes.kit import explaining, flags, run_folder
from recipes.kit.errors import UserError
from recipes.maps.arrays import softmax, width_of
from recipes.parts.catalogue import Catalogue

_BATCH = 32
_STEP = 32  # lengths that histories are padded to are multiples of it


def write(config, recipe, config_class, build_models):
    """Tests the maps of a trained recommender and writes a page.

    Args:
        config, recipe, config_class: As for `explaining.write`.
        build_models: Function `(settings, data)` to the recipe's models and the settings.
    """

    def of_folder(folder, settings):
        data = flags.call(interactions.InteractionReader, settings).load(settings.data)
        catalogue = Catalogue.load(folder / "items.txt")
        if catalogue.items != [" ".join(item.split()) for item in data.items]:
            raise UserError(f"The model in {folder} knows other items than {settings.data} has")
        settings, _, ranking, model = build_models(settings, data)
        model.set_weights(run_folder.load_model(folder).get_weights())  # all three share them
        return maps_of(settings, ranking, model, data, catalogue)

    explaining.write(config, recipe, config_class, of_folder, ["items.txt"])


def maps_of(config, ranking, model, data, catalogue):
    """The maps of `config.explained` test users: of their past items.

    Args:
        config: A `recipes.recommendation.Config` with its `max_history`.
        ranking: Keras model from histories `(B, T)` to a logit of each item `(B, V)`.
        model: Keras model from histories to a dict with `weights`, `(B, T)` or, of each of the
            items that are recommended, `(B, 10, T)`.
        data: `recipes.data.interactions.Interactions`.
        catalogue: `Catalogue`.

    Returns:
        List of `explaining.Maps`.
    """
    histories = [x[-config.max_history :] for x in data.test[0]]
    rows = explaining.chosen(config.explained, len(histories))
    if not len(rows):
        return []
    histories = [np.asarray(histories[row]) for row in rows]

    def predict(histories):
        """Probabilities of the items, those that are in no history: the model recommends no other.

        A part of a history is asked about the items that all of it leaves.
        """
        logits = ranking.predict_on_batch(_padded([items for items, _ in histories]))
        for row, (_, taken) in zip(logits, histories, strict=True):
            row[taken - 1] = -np.inf
        return softmax(logits)

    def remove(histories, keep):
        return [
            (items[row[: len(items)]], taken)
            for (items, taken), row in zip(histories, keep, strict=True)
        ]

    rows, headings = [], []
    for start in range(0, len(histories), _BATCH):
        batch = histories[start : start + _BATCH]
        outputs = model.predict_on_batch(_padded(batch))
        for number, items in enumerate(batch):
            of_items = outputs["weights"][number]
            of_items = of_items if of_items.ndim == 1 else of_items[0]
            rows.append(of_items[len(of_items) - len(items) :])
            headings.append(catalogue.name(int(outputs["items"][number, 0])))
    weights, mask = explaining.of_parts(rows)
    return [
        explaining.Maps(
            predict,
            [(items, items) for items in histories],
            weights,
            "item",
            [[f"{catalogue.name(item)};" for item in items.tolist()] for items in histories],
            headings,
            {"remove": remove, "mask": mask, "batch_size": _BATCH},
        )
    ]


def _padded(histories):
    """Histories `(B, T)`, padded at the left."""
    from recipes.data.batches import padded

    return padded(histories, width_of(histories, _STEP))
