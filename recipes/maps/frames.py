"""Attention maps of a classifier of clips, to be tested; see `kit.explaining`."""

from recipes.data import motions
from recipes.kit import explaining, flags, run_folder
from recipes.parts import clips


def write(config, recipe, config_class):
    """Tests the maps of a trained classifier, writes a page; arguments as of `explaining.write`."""

    def of_folder(folder, settings):
        data = flags.call(motions.ClipReader, settings).load(settings.data)
        from recipes.parts import motion  # noqa: F401  (the layers of the model)

        model, facts = run_folder.load_model(folder), clips.Facts.load(folder)
        return maps_of(settings, model, clips.see(settings, data).clips["test"], facts.labels)

    explaining.write(config, recipe, config_class, of_folder, [clips.FILE])


def maps_of(config, model, test, labels):
    """The maps of `config.explained` test clips: of frames, which are removed where they stand.

    Args:
        config: A `recipes.action_recognition.Config`.
        model: The model to use; of pictures its part that reads what the backbone saw is asked.
        test: List of arrays `(T, N)`, the test clips as numbers.
        labels: List of strings.

    Returns:
        List of `explaining.Maps`, empty for a model without attention.
    """
    rows = explaining.chosen(config.explained, len(test))
    if config.attention == "none" or not len(rows):
        return []
    from recipes.data.batches import pad_clips

    chosen = [test[row] for row in rows]
    inputs = pad_clips(chosen, max(map(len, chosen)))  # (B, T, N)
    named = {layer.name: layer for layer in model.layers}
    classify = named.get("classifier", model)
    found = classify.predict(inputs, verbose=0)
    weights, mask = explaining.of_parts(
        [row[: len(clip)] for row, clip in zip(found["weights"], chosen, strict=True)]
    )

    def predict(frames):
        return classify.predict_on_batch(frames)["probability"]

    def remove(frames, keep):
        return frames * keep[..., None]  # a frame of zeros is not there

    shown = [[str(number) for number in range(1, len(clip) + 1)] for clip in chosen]
    headings = [f"{labels[p.argmax()]} {p.max():.3f}" for p in found["probability"]]
    options = {"mask": mask, "remove": remove}
    return [explaining.Maps(predict, inputs, weights, "frame", shown, headings, options)]
