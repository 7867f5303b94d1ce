"""DIN with positions and a softmax: each candidate item is itself the query over the history.

Reference: Zhou et al., 2018, https://arxiv.org/abs/1706.06978
"""

import keras
from keras import layers, ops

import keras_attention as ka
from recipes.parts import next_item


def build(config, num_items, name):
    """`recipes.recommendation.build_model` for `--attention target`."""
    embed = layers.Embedding(
        num_items + 1,
        config.size,
        embeddings_initializer=next_item.normal(config.size**-0.5),
        name="items",
    )
    popularity = layers.Embedding(num_items + 1, 1, "zeros", name="popularity")
    positions = ka.PositionEmbedding(
        config.max_history + 1,
        embeddings_initializer=next_item.normal(config.size**-0.5),
        name="positions",
    )
    attention = ka.ContentAttention(score="bilinear", name="attention")
    drop = layers.Dropout(config.dropout, seed=config.seed, name="dropout")
    hidden = layers.Dense(2 * config.size, activation="relu", name="hidden")
    to_logit = layers.Dense(1, name="logit")

    def read(history):
        """Past items with positions `(B, T, D)`, positions to take the next `(B, T, D)`, mask."""
        history = history[:, -config.max_history :]
        first = next_item.first_position(history)
        x = embed(history)
        steps = positions(x, start_index=first)
        return drop(steps), positions(ops.zeros_like(x), start_index=first + 1), history > 0

    def logit(candidate, position, steps, known, **kwargs):
        """Logits of candidates `(B, C)`, and which past items they looked at `(B, C, T)`."""
        vector = embed(candidate)  # (B, C, D)
        context, weights = attention(
            vector + position, steps, value_mask=known, return_attention_scores=True, **kwargs
        )
        x = ops.concatenate([vector, context, vector * context], axis=-1)
        x = to_logit(drop(hidden(x))) + popularity(candidate)
        return ops.cast(ops.squeeze(x, -1), "float32"), weights

    history = keras.Input((None,), dtype="int32", name="history")
    target = keras.Input((None,), dtype="int32", name="target")
    negatives = keras.Input((None, config.negatives), dtype="int32", name="negatives")
    steps, places, known = read(history)

    def of_each_step(candidate):  # each step sees what came before
        return logit(candidate, places, steps, known, use_causal_mask=True)[0]

    others = [of_each_step(negatives[:, :, number]) for number in range(config.negatives)]
    likelihood = next_item.log_odds(of_each_step(target), ops.stack(others, axis=-1))
    training = keras.Model(
        {"history": history, "target": target, "negatives": negatives}, likelihood
    )

    candidates = next_item.AllItems(num_items, name="candidates")(history)  # (B, V)
    logits, _ = logit(candidates, places[:, -1:], steps, known)
    items, scores = next_item.best_unseen(logits, history, loss=config.loss)
    _, weights = logit(items, places[:, -1:], steps, known)
    outputs = {"items": items, "scores": scores, "weights": ops.cast(weights, "float32")}
    return training, keras.Model(history, logits), keras.Model(history, outputs, name=name)
