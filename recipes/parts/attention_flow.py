"""Attention flow between a question and a passage, what comes before it, and the span after it.

features = MatchFeatures()(context_ids, question_ids)            # which words both have
block = ConvolutionBlock(64, dilation_rate=2)                    # reads words with those around
flow, weights, looked_at = AttentionFlow()(context, question, ...)
start, end, score, probability = BestSpan(30)(start_logits, end_logits, context_mask)
"""

import keras
from keras import layers, ops

import keras_attention as ka


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
        self.score = TrilinearScore(dtype=self.dtype_policy, name="score")
        if self.context_to_question:
            self.attend = ka.ContentAttention(self.score, dtype=self.dtype_policy, name="attend")
            self.attend.build(context_shape, question_shape)
        elif self.question_to_context:
            self.score.build(context_shape, question_shape)
        if self.question_to_context:
            self.pool = ka.AttentionPooling(score="dot", dtype=self.dtype_policy, name="pool")
            one = (*context_shape[:-1], 1)
            self.pool.build(context_shape, (context_shape[0], 1), one)
        self.built = True

    def call(self, context, question, context_mask, question_mask):
        if self.context_to_question:
            found, weights = self.attend(
                context, question, query_mask=context_mask, value_mask=question_mask,
                return_attention_scores=True,
            )  # fmt: skip
        else:
            equal = ops.expand_dims(_equal(question_mask, context.dtype), 1)  # (B, 1, S)
            weights = ops.ones_like(context[..., :1]) * equal  # (B, T, S)
            found = ops.matmul(weights, question)
        if self.question_to_context:
            scores = self.score(context, question)  # (B, T, S)
            # Small enough for 16 bits.
            scores = ops.where(ops.expand_dims(question_mask, 1), scores, -3e4)
            best = ops.max(scores, axis=-1, keepdims=True)  # (B, T, 1)
            told, looked_at = self.pool(
                context, ops.ones_like(best[:, 0]), key=best, value_mask=context_mask,
                return_attention_scores=True,
            )  # fmt: skip
        else:
            looked_at = _equal(context_mask, context.dtype)
            told = ops.matmul(ops.expand_dims(looked_at, 1), context)[:, 0]
        told = ops.expand_dims(told, 1)  # (B, 1, D)
        flow = [context, found, context * found, context * told]
        return ops.concatenate(flow, axis=-1), weights, looked_at

    def compute_output_spec(self, context, question, context_mask, question_mask):
        pairs = (*context.shape[:2], question.shape[1])
        shapes = (*context.shape[:2], 4 * context.shape[2]), pairs, context.shape[:2]
        return tuple(keras.KerasTensor(shape, self.compute_dtype) for shape in shapes)

    def get_config(self):
        return {
            **super().get_config(),
            "context_to_question": self.context_to_question,
            "question_to_context": self.question_to_context,
        }


def _equal(mask, dtype):
    """The same weight for all steps of a mask `(B, T)`."""
    known = ops.cast(mask, dtype)
    return known / ops.maximum(ops.sum(known, axis=-1, keepdims=True), 1)


@keras.saving.register_keras_serializable(package="recipes.attention_flow")
class MatchFeatures(layers.Layer):
    """For each step of a text whether it stands in a run of 1 to N words that another text has.

    Args:
        runs: Integer N.

    Call arguments:
        ids, others: int32 `(B, T)` and `(B, S)`. Ids 0 and 1, padding and unknown, match nothing.

    Returns:
        Zeros and ones `(B, T, N)`.

    Reference:
        Chen et al., 2017, section 3.2 (exact match), https://arxiv.org/abs/1704.00051
        There single words; here runs of words too.
    """

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
        return ops.stack(features, axis=-1)

    def compute_output_spec(self, ids, others):
        return keras.KerasTensor((*ids.shape, self.runs), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "runs": self.runs}


@keras.saving.register_keras_serializable(package="recipes.attention_flow")
class ConvolutionBlock(layers.Layer):
    """A residual convolution over a text: x + dropout(relu(convolution(norm(x)))).

    Args:
        units: Integer D, of the input and the output.
        kernel_size: Integer, steps that a convolution sees.
        dilation_rate: Integer, the distance of these steps.
        separable: Whether the convolution is depthwise separable.
        dropout: Float, the dropout rate.
        seed: Integer.

    Call arguments:
        x: Float tensor `(B, T, D)`.
        known: Boolean `(B, T)`, True for what is no padding, which is never read.

    Reference:
        Yu et al., 2018, section 2.2, https://arxiv.org/abs/1804.09541
        There all convolutions are separable, and none is dilated.
    """

    def __init__(
        self, units, kernel_size=3, dilation_rate=1, separable=False, dropout=0.0, seed=None,
        **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.supports_masking = True
        self._settings = {
            "units": units,
            "kernel_size": kernel_size,
            "dilation_rate": dilation_rate,
            "separable": separable,
            "dropout": dropout,
            "seed": seed,
        }
        convolution = layers.SeparableConv1D if separable else layers.Conv1D
        self.norm = layers.LayerNormalization(dtype=self.dtype_policy)
        self.convolution = convolution(
            units, kernel_size, padding="same", dilation_rate=dilation_rate, activation="relu",
            dtype=self.dtype_policy,
        )  # fmt: skip
        self.drop = layers.Dropout(dropout, seed=seed, dtype=self.dtype_policy)

    def build(self, x_shape, known_shape=None):
        self.norm.build(x_shape)
        self.convolution.build(x_shape)
        self.built = True

    def call(self, x, known, training=None):
        read = self.norm(x) * ops.cast(ops.expand_dims(known, -1), x.dtype)
        return x + self.drop(self.convolution(read), training=training)

    def compute_output_spec(self, x, known, training=None):
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), **self._settings}


@keras.saving.register_keras_serializable(package="recipes.attention_flow")
class BestSpan(layers.Layer):
    """The best span: start + end is the highest among all with start <= end and a maximal length.

    Args:
        max_length: Integer L, the most steps of a span.

    Call arguments:
        start, end: Float tensors `(B, T)`, the logits of each step.
        known: Boolean `(B, T)`, True for what is no padding.

    Returns:
        int32 `(B,)` twice, the first and the last step; the sum of their logits `(B,)`, and its
        share among all such spans, a probability `(B,)`.
    """

    def __init__(self, max_length, **kwargs):
        super().__init__(**kwargs)
        self.max_length = max_length

    def call(self, start, end, known):
        start, end = (ops.where(known, ops.cast(x, "float32"), -1e9) for x in (start, end))
        T = ops.shape(start)[1]
        # The logits of the ends that each start may have: (B, T, L).
        spare = ops.full_like(start[:, :1], -1e9) * ops.ones((1, self.max_length - 1))
        behind = ops.expand_dims(ops.arange(T), 1) + ops.arange(self.max_length)
        ends = ops.take(ops.concatenate([end, spare], axis=1), behind, axis=1)
        sums = ops.expand_dims(start, -1) + ends
        sums = ops.reshape(sums, (-1, T * self.max_length))
        # `argmax` of floats has no TFLite operator.
        best, index = ops.top_k(sums, 1)
        first = index[:, 0] // self.max_length
        total = ops.logsumexp(sums, axis=-1)
        return (
            ops.cast(first, "int32"),
            ops.cast(first + index[:, 0] % self.max_length, "int32"),
            best[:, 0],
            ops.exp(best[:, 0] - total),
        )

    def compute_output_spec(self, start, end, known):
        return tuple(
            keras.KerasTensor(start.shape[:1], dtype)
            for dtype in ("int32", "int32", "float32", "float32")
        )

    def get_config(self):
        return {**super().get_config(), "max_length": self.max_length}
