"""A captioner in use: its state, its steps, the search, and the exports.

The model reads `image` and `words`; by name it has the layers `backbone`, `encoder`, `embedding`,
`decoder` (`ka.AttentionDecoder`) and `head`, as `recipes.image_captioning.build_model` makes them.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_attention as ka
from recipes.kit import exports
from recipes.text import words
from recipes.text.words import END, PAD, START, UNKNOWN

_STEP_ROWS = 100  # on which single steps of the exports are compared
# A word may change where two are as probable; then the numbers of all words after it do.
_EXACT = {"difference": None, "agreement": 0.98}
_MEASURED = {"difference": None, "agreement": None}
BOUNDS = {"tflite": _EXACT, "tflite_float16": _MEASURED, "tflite_int8": _MEASURED}


def over_grid(weights, grid):
    """The weights `(B, T, S)` of all places as `(B, T, H, W)`."""
    height, width, _ = grid
    weights = weights[..., : height * width]  # hard attention's choice, without the probabilities
    return keras.layers.Reshape((-1, height, width), dtype="float32")(weights)


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


def beam_search(model, grid, *, max_words, beams, length_penalty):
    """The most probable captions, int32 `(B, L)`."""
    tokens, _, _ = ka.beam_search(
        next_word(model),
        START,
        first_state(model, grid),
        max_length=max_words + 1,
        end_token=END,
        num_beams=beams,
        length_penalty=length_penalty,
    )
    return tokens[:, 0]


def weights_of(model, grid, tokens):
    """Where the model looks for each word of given captions `(B, L)`: `(B, L, H, W)`."""
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
    return over_grid(weights, tuple(grid.shape[1:]))


def describe(search, model, grids, vocabulary):
    """The captions of grids `(N, H, W, C)`, a list of strings.

    Args:
        search: Function `(model, grid) -> ids`, such as `beam_search` with its options.
    """
    # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
    compiled = tf.function(lambda grid: search(model, grid), autograph=False)
    size, captions = 50, []
    for start in range(0, len(grids), size):
        some = np.asarray(grids[start : start + size], "float32")
        rest = size - len(some)  # another size would be traced anew
        tokens = compiled(tf.constant(np.pad(some, [(0, rest), *[(0, 0)] * 3])))
        captions += words.decode(vocabulary, tokens[: len(some)])
    return captions


def export(model, folder, vocabulary, images, *, search, max_words):
    """Writes all forms, and a picture of where the model looks.

    Args:
        model: The model to use, as `recipes.image_captioning.build_model` returns it.
        folder: Path.
        vocabulary: List of words.
        images: uint8 array `(N, size, size, 3)` on which the forms are compared.
        search: As for `describe`, for the SavedModel; the TFLite files search greedily.
        max_words: Integer, words of the longest caption.

    Returns:
        As `kit.exports.export`.
    """
    texts = tf.constant([word if n > UNKNOWN else "" for n, word in enumerate(vocabulary)])
    size = model.get_layer("backbone").input_shape[1]
    image_spec = {"image": ((None, size, size, 3), "uint8")}

    def caption(model, image):
        grid = see(model, image)
        ids = search(model, grid)
        text = tf.strings.strip(tf.strings.reduce_join(tf.gather(texts, ids), 1, separator=" "))
        return {"caption": text, "ids": ids, "weights": weights_of(model, grid, ids)}

    # A state is a structure; a phone passes tensors by name.
    state = first_state(model, see(model, images[:1]))
    names = ["_".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(state)]
    state_specs = {
        name: ((None, *x.shape[1:]), "float32")
        for name, x in zip(names, keras.tree.flatten(state), strict=True)
    }

    def encode(model, image):
        state = first_state(model, see(model, image))
        return dict(zip(names, keras.tree.flatten(state), strict=True))

    def decode_step(model, token, **tensors):
        dtype = model.get_layer("decoder").compute_dtype
        before = [tf.cast(tensors[name], dtype) for name in names]
        before = keras.tree.pack_sequence_as(state, before)
        logits, after, weights = next_word(model)(token, before)
        after = dict(zip(names, keras.tree.flatten(after), strict=True))
        changed = {f"next_{name}": after[name] for name in names if name.startswith("cell")}
        grid = model.get_layer("encoder").input_shape[1:]
        weights = over_grid(tf.expand_dims(weights, 1), grid)[:, 0]
        return {"logits": logits, "weights": weights, **changed}

    encoded = {name: np.array(x) for name, x in encode(model, images[:_STEP_ROWS]).items()}
    tokens = np.full(len(images[:_STEP_ROWS]), START, "int32")
    figures = exports.export(
        model,
        folder,
        formats="saved_model",
        signatures=[
            ka.Signature("caption", caption, image_spec, images, decision=same_caption),
        ],
        bounds={"saved_model": _EXACT, "float32_rebuild": _MEASURED},
    )
    figures |= exports.export(
        model,
        folder,
        formats=[form for form in exports.FORMS if form != "saved_model"],
        signatures=[
            greedy_signature(images, max_words),
            ka.Signature("encode", encode, image_spec, images[:_STEP_ROWS], decision=names[0]),
            ka.Signature(
                "decode_step", decode_step, {"token": ((None,), "int32"), **state_specs},
                {"token": tokens, **encoded}, decision="logits",
            ),
        ],
        files={"vocabulary.txt": vocabulary},
        adds=True,
        bounds={**BOUNDS, "float32_rebuild": _MEASURED},
    )  # fmt: skip
    tokens = search(model, see(model, images[:1]))
    weights = np.array(weights_of(model, see(model, images[:1]), tokens))[0]
    draw(images[0], words.decode(vocabulary, tokens)[0], weights, folder / "attention.png")
    return figures


def see(model, image):
    """The grids of uint8 images."""
    return model.get_layer("backbone")(tf.cast(image, tf.float32), training=False)


def greedy_signature(images, max_words, batch=None):
    """The signature `greedy`: from `image` to the `ids` of its caption, and their `weights`.

    Args:
        images, max_words: As for `export`.
        batch: Integer, the number of images in a call; `None` for any.
    """

    def greedy(model, image):
        grid = see(model, image)
        ids, _, _ = ka.greedy_search(
            next_word(model), START, first_state(model, grid), max_words + 1, END
        )
        return {"ids": ids, "weights": weights_of(model, grid, ids)}

    spec = {"image": ((batch, *images.shape[1:]), "uint8")}
    return ka.Signature("greedy", greedy, spec, images, decision=same_caption)


def same_caption(outputs):
    """The captions, to compare word by word."""
    return np.array([" ".join(map(str, row)) for row in outputs["ids"]])


def draw(image, caption, weights, path):
    """Draws the image, and for each word of the caption where in it the word was seen."""
    seen = caption.split()
    ka.plot_image_attention(image, weights[: len(seen)], seen).savefig(path)
