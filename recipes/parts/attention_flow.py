"""Attention flow between a question and a passage, what comes before it, and the span after it.

features = MatchFeatures()(context_ids, question_ids)            # which words both have, and where
block = ConvolutionBlock(64, distance=2)                         # reads words with those around
flow, weights, looked_at = AttentionFlow()(context, question, context_mask, question_mask)
start, end, score, probability = BestSpan(30)(start_logits, end_logits)
"""

import keras
from keras import layers, ops

import keras_attention as ka
from recipes.parts.equal_weights import EqualScore


@keras.saving.register_keras_serializable(package="recipes.attention_flow")
class TrilinearScore(ka.DotProductScore):
    """The score of attention flow, as one dot product.

        score(q, k) = w . [q; k; q * k] = [q * w_3; w_1 . q; 1] . [k; 1; w_2 . k]

    `ka.ConcatScore("q,k,q*k", activation=None)` gives the same scores, but computes the D products
    of each pair. Begins as the scaled dot product: like words score high.

    Reference:
        Seo et al., 2017, eq. 1, https://arxiv.org/abs/1611.01603
        As in the paper, but for where it begins.
    """

    def build(self, query_shape, key_shape):
        self.check_same_size(query_shape, key_shape)
        size = query_shape[-1]
        begin = keras.initializers.Constant(size**-0.5)
        self.of_product = self.add_weight(name="of_product", shape=(size,), initializer=begin)
        self.of_query = self.add_weight(name="of_query", shape=(size, 1), initializer="zeros")
        self.of_key = self.add_weight(name="of_key", shape=(size, 1), initializer="zeros")
        self.built = True

    def prepare_query(self, query):
        alone = ops.matmul(query, ops.cast(self.of_query, query.dtype))  # (..., T, 1)
        scaled = query * ops.cast(self.of_product, query.dtype)
        return ops.concatenate([scaled, alone, ops.ones_like(alone)], axis=-1)  # (..., T, D + 2)

    def prepare_key(self, key):
        alone = ops.matmul(key, ops.cast(self.of_key, key.dtype))  # (..., S, 1)
        return ops.concatenate([key, ops.ones_like(alone), alone], axis=-1)  # (..., S, D + 2)


@keras.saving.register_keras_serializable(package="recipes.attention_flow")
class AttentionFlow(layers.Layer):
    """Attention flow: what each step of a passage has to do with the question, and the reverse.

        S = score(h, u)                        how alike are step t and the question's word j?
        u~_t = sum_j softmax_j(S_tj) u_j       context to question: which word concerns step t
        h~ = sum_t softmax_t(max_j S_tj) h_t   question to context: which steps concern a word
        g_t = [h_t; u~_t; h_t * u~_t; h_t * h~]

    Either side can be switched off: then the mean of the other text stands for what it would find.

    Args:
        context_to_question, question_to_context: Booleans, the two sides.

    Call arguments:
        context: Float tensor h `(B, T, D)`.
        question: Float tensor u `(B, S, D)`.
        context_mask, question_mask: Boolean `(B, T)` and `(B, S)`, True for what is no padding.

    Returns:
        g `(B, T, 4 D)`; the weights of context to question `(B, T, S)`, and those of question to
        context `(B, T)`. Each row sums to one.

    Reference:
        Seo et al., 2017, eq. 1 to 5, https://arxiv.org/abs/1611.01603
        As in the paper, with its simple beta (eq. 5).
    """

    def __init__(self, context_to_question=True, question_to_context=True, **kwargs):
        super().__init__(**kwargs)
        self.context_to_question = context_to_question
        self.question_to_context = question_to_context

    def build(self, context_shape, question_shape, *masks):
        options = {"dtype": self.dtype_policy}
        if self.context_to_question or self.question_to_context:
            self.score = TrilinearScore(**options, name="score")
            self.score.build(context_shape, question_shape)
        score = self.score if self.context_to_question else EqualScore(**options)
        self.attend = ka.ContentAttention(score, **options, name="attend")
        self.attend.build(context_shape, question_shape)
        score = "dot" if self.question_to_context else EqualScore(**options)
        self.pool = ka.AttentionPooling(score=score, **options, name="pool")
        self.pool.build(context_shape, (context_shape[0], 1), (*context_shape[:-1], 1))
        self.built = True

    def call(self, context, question, context_mask, question_mask):
        found, weights = self.attend(
            context, question, query_mask=context_mask, value_mask=question_mask,
            return_attention_scores=True,
        )  # fmt: skip
        if self.question_to_context:
            scores = self.score(context, question)  # (B, T, S)
            # Small enough for 16 bits.
            scores = ops.where(ops.expand_dims(question_mask, 1), scores, -3e4)
            best = ops.max(scores, axis=-1, keepdims=True)  # (B, T, 1)
        else:
            best = context[..., :1]  # whatever: all score alike
        told, looked_at = self.pool(
            context, ops.ones_like(best[:, 0]), key=best, value_mask=context_mask,
            return_attention_scores=True,
        )  # fmt: skip
        told = ops.expand_dims(told, 1)  # (B, 1, D)
        flow = [context, found, context * found, context * told]
        return ops.concatenate(flow, axis=-1), weights, looked_at

    def get_config(self):
        return {
            **super().get_config(),
            "context_to_question": self.context_to_question,
            "question_to_context": self.question_to_context,
        }


@keras.saving.register_keras_serializable(package="recipes.attention_flow")
class MatchFeatures(layers.Layer):
    """For each step of a text what it has in common with another text: itself, and those near it.

    Features say whether the step stands in a run of 1 to N words that the other text has, and which
    share of the 9, 25 and 65 steps around it does.

    Args:
        runs: Integer N.

    Call arguments:
        ids, others: int32 `(B, T)` and `(B, S)`. Ids 0 and 1, padding and unknown, match nothing.

    Returns:
        Numbers from 0 to 1, `(B, T, 4 N)`.

    Reference:
        Chen et al., 2017, section 3.2 (exact match), https://arxiv.org/abs/1704.00051
        There single words, and none near; here runs of words too.
    """

    WINDOWS = (9, 25, 65)

    def __init__(self, runs=4, **kwargs):
        super().__init__(**kwargs)
        self.runs = runs

    def call(self, ids, others):
        T, S, spare = ops.shape(ids)[1], ops.shape(others)[1], self.runs - 1
        others = ops.expand_dims(others, 1)  # (B, 1, S)
        same = ops.logical_and(ops.equal(ops.expand_dims(ids, 2), others), ops.greater(others, 1))
        same = ops.cast(same, self.compute_dtype)  # (B, T, S)
        padded = ops.pad(same, [[0, 0], [0, spare], [0, spare]])
        features = []
        for length in range(1, self.runs + 1):
            behind = length - 1
            if behind:  # runs of this length that begin here
                same = same * padded[:, behind : behind + T, behind : behind + S]
            begins = ops.max(same, axis=2)  # (B, T)
            begins = ops.pad(begins, [[0, 0], [behind, 0]])
            inside = begins[:, :T]
            for shift in range(1, length):
                inside = ops.maximum(inside, begins[:, shift : shift + T])
            features.append(inside)
        here = ops.stack(features, axis=-1)  # (B, T, N)
        near = [
            # Not "same": padding of other lengths would count otherwise.
            ops.average_pool(ops.pad(here, [[0, 0], [size // 2, size // 2], [0, 0]]), size, 1)
            for size in self.WINDOWS
        ]
        return ops.concatenate([here, *near], axis=-1)

    def get_config(self):
        return {**super().get_config(), "runs": self.runs}


@keras.saving.register_keras_serializable(package="recipes.attention_flow")
class ConvolutionBlock(layers.Layer):
    """A residual convolution over three steps of a text, which may lie apart.

        y_t = x_t + dropout(relu(W [n_{t-r}; n_t; n_{t+r}] + b)),    n = norm(x), 0 in padding

    It is computed as one product of matrices: the gradient of `layers.Conv1D` is slow on CPUs if
    steps lie apart. Dropout takes the same units from all steps, and the norm divides by the root
    mean square alone: random numbers for each step and a layer norm take much of a CPU's time.

    Args:
        units: Integer D, of the input and the output.
        distance: Integer r.
        dropout: Float, the dropout rate.
        seed: Integer.

    Call arguments:
        x: Float tensor `(B, T, D)`.
        known: Boolean `(B, T)`, True for what is no padding, which is never read.

    Reference:
        Yu et al., 2018, section 2.2, https://arxiv.org/abs/1804.09541
        There convolutions are separable, over seven steps, and none lie apart; dropout is of
        each step, and the norm is a layer norm.
    """

    def __init__(self, units, distance=1, dropout=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units, self.distance, self.dropout, self.seed = units, distance, dropout, seed
        self.norm = layers.RMSNormalization(dtype=self.dtype_policy)
        self.norm.supports_masking = True  # it reads each step alone; Keras would warn
        self.dense = layers.Dense(units, activation="relu", dtype=self.dtype_policy)
        self.drop = layers.SpatialDropout1D(dropout, seed=seed, dtype=self.dtype_policy)

    def build(self, x_shape, known_shape=None):
        self.norm.build(x_shape)
        self.dense.build((*x_shape[:-1], 3 * x_shape[-1]))
        self.built = True

    def call(self, x, known, training=None):
        read = self.norm(x) * ops.cast(ops.expand_dims(known, -1), x.dtype)  # (B, T, D)
        padded = ops.pad(read, [[0, 0], [self.distance] * 2, [0, 0]])  # (B, T + 2 r, D)
        # Not `padded[:, :T]`: TensorFlow's gradient of that is slow, too.
        before, after = (
            ops.slice(padded, (0, begin, 0), ops.shape(read)) for begin in (0, 2 * self.distance)
        )
        steps = [before, read, after]
        read = self.dense(ops.concatenate(steps, axis=-1))  # (B, T, D)
        return x + self.drop(read, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "distance": self.distance,
            "dropout": self.dropout,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="recipes.attention_flow")
class BestSpan(layers.Layer):
    """The best span: start + end is the highest among all with start <= end and a maximal length.

    Args:
        max_length: Integer L, the most steps of a span.

    Call arguments:
        start, end: Float tensors `(B, T)`, the logits of each step; in padding below -1e8.

    Returns:
        int32 `(B,)` twice, the first and the last step; the sum of their logits `(B,)`, and its
        share among all such spans, a probability `(B,)`.
    """

    def __init__(self, max_length, **kwargs):
        super().__init__(**kwargs)
        self.max_length = max_length

    def call(self, start, end):
        T, length = ops.shape(start)[1], self.max_length
        # The logits of the ends that each start may have: (B, T, L).
        end = ops.pad(end, [[0, 0], [0, length - 1]], constant_values=-1e9)
        ends = ops.take(end, ops.expand_dims(ops.arange(T), 1) + ops.arange(length), axis=1)
        sums = ops.reshape(ops.expand_dims(start, 2) + ends, (-1, T * length))
        # `argmax` of floats has no TFLite operator.
        best, index = (x[:, 0] for x in ops.top_k(sums, 1))
        return (
            ops.cast(index // length, "int32"),
            ops.cast(index // length + index % length, "int32"),
            best,
            ops.exp(best - ops.logsumexp(sums, axis=-1)),
        )

    def get_config(self):
        return {**super().get_config(), "max_length": self.max_length}
