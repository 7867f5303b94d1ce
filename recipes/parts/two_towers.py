"""Two towers: a query and a document each become a vector, and their cosine says how they match.

A document's vector is the same for every query. So those of many documents are computed once, and
a query finds the best of them by one matrix product: `recipes/parts/searched.py`.
"""

import keras
from keras import layers, ops

import keras_attention as ka
from recipes.parts.ranked import SIDES

SHARPNESS = 20.0  # cosines times this are the logits that are trained


def build(config, texts, name, attention=True):
    """`recipes.text_matching.build_model` for `--architecture encoder`.

    Attention pooling gives two halves of a text's vector: of its words' vectors, what the text is
    about; of runs of three words, through a layer of the query's or the document's own, what it
    asks for or tells.

    The layers `query_encoder` and `document_encoder` of the model to use are models from ids
    `(B, T)` to a dict of `vector` `(B, D)`, of length one, and `weights` `(B, T)`, which sum to one
    over the words.
    """
    embed = layers.Embedding(*texts.vectors.shape, trainable=False, name="vectors")
    runs = layers.Conv1D(config.units, 3, padding="same", activation="relu", name="runs")

    def tower(name, seed):
        ids = keras.Input((None,), dtype="int32", name=f"{name}_ids")
        kept = ids[:, : config.max_steps]
        known = ops.greater(kept, 0)
        is_known = ops.expand_dims(ops.cast(known, "float32"), -1)
        x = embed(kept)  # zeros for padding
        x = layers.Concatenate()([x, runs(x)])
        if attention:
            x, weights = ka.AttentionPooling(name=f"{name}_pooling")(
                x, mask=known, return_attention_scores=True
            )
        else:
            weights = is_known[:, :, 0] / ops.maximum(ops.sum(is_known, axis=1), 1.0)
            x = ops.sum(x * ops.expand_dims(weights, -1), axis=1)
        about, told = x[:, : config.vector_size], x[:, config.vector_size :]
        told = layers.Dropout(config.dropout, seed=seed)(told)
        told = layers.Dense(config.units, name=f"{name}_told")(told)
        halves = [ops.normalize(half, axis=-1, epsilon=1e-6) for half in (about, told)]
        outputs = {"vector": layers.Concatenate()(halves) / 2**0.5, "weights": weights}
        outputs = {key: ops.cast(x, "float32") for key, x in outputs.items()}
        return keras.Model(ids, outputs, name=f"{name}_encoder")

    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in SIDES}
    query, document = (
        tower(name, config.seed + number)(inputs[name])["vector"]
        for number, name in enumerate(SIDES)
    )
    scores = SHARPNESS * ops.matmul(query, ops.transpose(document))  # (B, B)
    own = SHARPNESS * ops.sum(query * document, axis=-1, keepdims=True)
    rarity = texts.idf[:, None] / texts.idf.mean()
    embed.embeddings.assign(texts.vectors * rarity)
    return keras.Model(inputs, scores), keras.Model(inputs, {"score": own}, name=name)
