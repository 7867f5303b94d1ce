"""A tagger with attention: the network, its batches, its answers and its exports.

features of tokens -> embedding -> encoder -> attention decoder -> a tag per token
                                           -> attention pooling -> the intent
"""

import dataclasses
from collections import Counter

import numpy as np
from keras import layers, ops

import keras_attention as ka
from recipes.data.batches import Batches, pad, widths
from recipes.kit import exports, spans
from recipes.text import token_features

FEATURES = len(token_features.KINDS)
WIDTHS = 4  # that batches are padded to: XLA compiles anew for each
NO_LABEL = -1  # of padding, and of intents that the training data do not have


def encoder(config, num_features):
    """What the tokens say, each read together with those around it.

    Args:
        config: A `recipes.tagging.Config`.
        num_features: Integer, ids of features.

    Returns:
        Function from ids `(B, T, 4)` to states `(B, T, 2 * units)`.
    """

    def encode(ids):
        known = ops.greater(ids[:, :, 0], 0)  # (B, T)
        embed = layers.Embedding(num_features, config.embedding_size, name="features")
        x = layers.Reshape((-1, FEATURES * config.embedding_size))(embed(ids))  # (B, T, 4 E)
        x = layers.Dropout(config.dropout, seed=config.seed)(x)
        read = _gru if config.encoder == "gru" else _transformer
        x = read(config, x, known)
        return layers.Dropout(config.dropout, seed=config.seed + 1)(x)

    return encode


def _gru(config, x, known):
    # Not `layers.GRU`, which TFLite takes for one size of batch alone.
    one_way = ka.ExportableRNN(layers.GRUCell(config.units), return_sequences=True)
    return layers.Bidirectional(one_way, name="encoder")(x, mask=known)


def _transformer(config, x, known):
    size = 2 * config.units
    x = layers.Dense(size, name="token")(x)
    for number in range(config.blocks):
        block = ka.TransformerEncoderBlock(
            2 * size,
            attention=ka.MultiHeadAttention(
                config.heads, size // config.heads, position=ka.RotaryPositionEmbedding()
            ),
            dropout=0.1,
            norm_first=True,
            seed=config.seed + 10 + number,
            name=f"block_{number + 1}",
        )
        x = block(x, mask=known)
    return layers.LayerNormalization(name="norm")(x)


class TagBatches(Batches):
    """Sentences of about the same length with their tags and intents, padded at the right.

    A word that the training data have once is now and then an unknown one, and with it its affixes:
    so the model learns what to make of words that it does not know.

    Args:
        ids: List of int32 arrays `(T, 4)`.
        tags: List of int32 arrays `(T,)`, or `None`.
        intents: int32 array, one per sentence, or `None`.
        batch_size: Integer, sentences in a batch.
        rare: Set of the ids of words that occur once.
        unknown: Float, the share of them that is replaced.
        **options: As for `Batches`.

    Each batch is `(ids (B, T, 4), {"slots": (B, T), "intent": (B,)})`.
    """

    def __init__(self, ids, tags, intents, batch_size, *, rare=(), unknown=0.0, **options):
        self._ids, self._tags, self._intents = ids, tags, intents
        self._rare, self._unknown = np.array(sorted(rare), "int32"), unknown
        lengths = [len(row) for row in ids]
        super().__init__(lengths, batch_size, widths=widths(lengths, WIDTHS), **options)

    def _arrays(self, rows, width):
        ids = padded([self._ids[row] for row in rows], width)
        if self._unknown:
            rng = np.random.default_rng((self._seed or 0, self._epoch, int(rows[0])))
            is_replaced = np.isin(ids[:, :, 0], self._rare)
            is_replaced &= rng.random(is_replaced.shape) < self._unknown
            ids[:, :, 0] = np.where(is_replaced, 1, ids[:, :, 0])
        labels = {}
        if self._tags is not None:
            labels["slots"] = pad([self._tags[row] - NO_LABEL for row in rows], width) + NO_LABEL
        if self._intents is not None:
            labels["intent"] = self._intents[rows]
        return ids, labels


def padded(ids, width):
    """Ids of sentences, arrays `(T, 4)`, as int32 `(B, width, 4)`."""
    return np.stack([np.pad(row, ((0, width - len(row)), (0, 0))) for row in ids])


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Tagged sentences as numbers.

    Attributes:
        data: `recipes.data.tagged.TaggedSentences`.
        vocabulary: List of the features of tokens.
        ids: Dict of split to a list of int32 arrays `(T, 4)`.
        rare: Set of the ids of words that the training split has once.
    """

    data: object
    vocabulary: list
    ids: dict
    rare: set

    @classmethod
    def of(cls, data):
        """Learns the features of the training split."""
        words = {part: split.words for part, split in data.splits.items()}
        vocabulary = token_features.learn(words["train"])
        index = token_features.index_of(vocabulary)
        ids = {
            part: [token_features.encode(index, one) for one in rows]
            for part, rows in words.items()
        }
        counts = Counter(np.concatenate(ids["train"])[:, 0].tolist())
        return cls(data, vocabulary, ids, {word for word, count in counts.items() if count == 1})

    def batches(self, config, tasks, epoch=0):
        """Batches of the training split, with labels for these tasks."""
        data, train = self.data, self.data.train
        tags, intents = ({name: i for i, name in enumerate(x)} for x in (data.tags, data.intents))
        of_tokens = [np.array([tags[tag] for tag in row], "int32") for row in train.tag_lists]
        return TagBatches(
            self.ids["train"],
            of_tokens if "slots" in tasks else None,
            np.array([intents[x] for x in train.intents], "int32") if "intent" in tasks else None,
            config.batch_size,
            rare=self.rare,
            unknown=config.unknown,
            shuffle_seed=config.seed,
            epoch=epoch,
        )

    def answers(self, model, part):
        """What a model to train says of a split: lists of tags and an array of intents, or `None`.

        All of a split is as wide as its longest sentence, and so traced once.
        """
        ids = self.ids[part]
        outputs = model.predict(padded(ids, max(map(len, ids))), batch_size=256, verbose=0)
        tags = intents = None
        if "slots" in outputs:
            best = np.array(self.data.tags)[outputs["slots"].argmax(-1)]
            tags = [row[: len(one)].tolist() for row, one in zip(best, ids, strict=True)]
        if "intent" in outputs:
            intents = np.array(self.data.intents)[outputs["intent"].argmax(-1)]
        return tags, intents


def measure(split, tags, intents):
    """Scores of the answers for a split, as a dict; whole sentences count if all of it is right.

    Args:
        split: `recipes.data.tagged.Split`.
        tags, intents: As `Sentences.answers` returns them.
    """
    scores, is_right = {}, np.ones(len(split), bool)
    if tags is not None:
        scores = spans.measure(split.tag_lists, tags)
        is_right &= [true == found for true, found in zip(split.tag_lists, tags, strict=True)]
    if intents is not None:
        is_found = np.array(split.intents) == intents
        scores["intent_accuracy"] = float(is_found.mean())
        is_right &= is_found
    if tags is not None:
        scores["sentence_accuracy"] = float(is_right.mean())
    return scores


def mean_score(scores):
    """What decides which epoch is best: the mean of the tasks' own scores."""
    return float(
        np.mean([scores[name] for name in ("slot_f1", "intent_accuracy") if name in scores])
    )


def export(model, folder, data, vocabulary, ids):
    """Writes all forms of a tagger, with one signature, `ids`: see `recipes.tagging.build_model`.

    Args:
        model: The model to use.
        folder: Path.
        data: `recipes.data.tagged.TaggedSentences`.
        vocabulary: List of the features of tokens.
        ids: List of int32 arrays `(T, 4)`, on which the forms are compared.

    Returns:
        As `kit.exports.export`.
    """

    def read_ids(model, ids):
        # An empty sentence gets one step of padding: TFLite's kernels do not all take none.
        missing = ops.maximum(1 - ops.shape(ids)[1], 0)
        return model(ops.pad(ids, [[0, 0], [0, missing], [0, 0]]), training=False)

    signature = ka.Signature(
        "ids",
        read_ids,
        {"ids": ((None, None, FEATURES), "int32")},
        exports.one_by_one(ids),  # as a phone does
        decision=_decisions,
    )
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[signature],
        files={"features.txt": vocabulary, "tags.txt": data.tags, "intents.txt": data.intents},
    )


def _decisions(outputs):
    """The tags and the intent that are told, `(B, T + 1)` for both tasks."""
    found = [
        outputs[name].argmax(-1).reshape(len(outputs[name]), -1)
        for name in ("tag_probability", "intent_probability")
        if name in outputs
    ]
    return np.concatenate(found, axis=1)
