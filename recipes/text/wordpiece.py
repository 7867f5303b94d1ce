"""Word pieces: learning a vocabulary, and the tokenizers that read it.

`fast_tokenizer` is the one that runs in training, in the SavedModel and in the TFLite file.
`encode` gives the same ids in forty lines of plain Python, for a phone without tensorflow-text.
"""

import re
import unicodedata

import numpy as np

from recipes.kit import exports
from recipes.kit.errors import UserError

PADDING, UNKNOWN = "[PAD]", "[UNK]"

# Unicode's "default ignorable" characters, which NFKC casefolding leaves out.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def learn_vocabulary(texts, size, *, cased=False, special=()):
    """Learns at most `size` word pieces from texts; the first two are padding and unknown.

    With `cased` capitals and accents are kept. `special` are further pieces that are no text.

    The `tokenizers` package finds the same pieces as tensorflow-text's own tools in a thirtieth of
    the time. The same texts always give the same pieces: a resumed training counts on it.
    """
    import tokenizers

    learner = tokenizers.BertWordPieceTokenizer(lowercase=not cased, strip_accents=not cased)
    normalize = learner.normalizer.normalize_str
    alphabet = sorted({letter for old in set().union(*texts) for letter in normalize(old).strip()})
    learner.train_from_iterator(
        texts,
        vocab_size=size,
        # Letters within words would be numbered at random, and ties be broken by these numbers.
        special_tokens=[PADDING, UNKNOWN, *special, *(f"##{letter}" for letter in alphabet)],
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    pieces = learner.get_vocab()
    return sorted(pieces, key=pieces.get)


def fast_tokenizer(vocabulary, *, cased=False):
    """`tensorflow_text.FastBertTokenizer`: lower case and no accents unless `cased`, int32 ids."""
    return tensorflow_text().FastBertTokenizer(
        vocab=vocabulary, lower_case_nfd_strip_accents=not cased, token_out_type="int32"
    )


def tokenizer_of(vocabulary):
    """The `fast_tokenizer` of a vocabulary, which keeps capitals if the pieces have any.

    `[UNK]` and the like are no text. A pretrained model brings a vocabulary of either kind.
    """
    return fast_tokenizer(vocabulary, cased=is_cased(vocabulary))


def is_cased(vocabulary):
    """Whether any of the pieces has capitals."""
    pieces = (piece for piece in vocabulary if not piece.startswith("["))
    return any(re.search("[A-Z]", piece) for piece in pieces)


def tensorflow_text():
    """The module, or a `UserError` that says how to get it."""
    try:
        import tensorflow_text
    except ImportError as error:
        raise UserError(
            'This recipe needs tensorflow-text: pip install "keras-attention-layers[recipes]". '
            f"It has no wheels for Windows; there, use WSL. Received: {error}"
        ) from error
    return tensorflow_text


def operators():
    """The registrars of tensorflow-text's operators, for TFLite's interpreter."""
    return tensorflow_text().tflite_registrar.SELECT_TFTEXT_OPS


def runner(path, tokenizer, signatures, inputs):
    """An exported model, to be called with raw texts.

    Of a TFLite file without a signature of texts (`--no-text-signature`) the ids are made here.

    Args:
        path: Path of a TFLite file or of the folder of a SavedModel.
        tokenizer: What `fast_tokenizer` returns.
        signatures: Pair of strings, the signature of texts and that of ids.
        inputs: Dict from the name of each input of texts to the name of its ids.

    Returns:
        As `exports.runner`.
    """
    of_texts, of_ids = signatures
    run = exports.runner(path, of_texts, otherwise=of_ids, operators=operators())
    if run.signature == of_texts:
        return run

    def read(**given):
        texts = {inputs[name]: given.pop(name) for name in inputs}
        return run(**{name: _padded_ids(tokenizer, x) for name, x in texts.items()}, **given)

    read.shapes, read.signature = run.shapes, of_ids
    return read


def _padded_ids(tokenizer, texts):
    """Ids `(B, T)` of an array of bytes, of one step at least."""
    ids = tokenizer.tokenize(texts).to_tensor().numpy()
    return ids if ids.shape[1] else np.zeros((len(ids), 1), "int32")


def tokenize(tokenizer, texts, batch=2000):
    """Ids of many texts, a list of int32 arrays; `batch` texts at a time bound the memory."""
    import tensorflow as tf

    ids = []
    for start in range(0, len(texts), batch):
        part = tokenizer.tokenize(tf.constant(texts[start : start + batch], tf.string))
        ids += np.split(part.values.numpy(), part.row_splits.numpy()[1:-1])
    return ids


def tokenize_splits(tokenizer, data):
    """Dict from the name of a split to the ids of its texts."""
    return {part: tokenize(tokenizer, split.texts) for part, split in data.splits.items()}


def word_weights(tokenizer, vocabulary, text, weights):
    """Words of a text, each with the sum of its pieces' weights.

    Args:
        tokenizer: What `fast_tokenizer` returns.
        vocabulary: List of pieces.
        text: String.
        weights: For each piece of the text, its weight; what follows belongs to padding.

    Returns:
        List of `(start, end)` in characters, and list of floats.
    """
    ids, pieces = piece_spans(tokenizer, text)
    words, spans = words_of(vocabulary, ids, pieces)
    sums = np.bincount(words, weights[: len(ids)], minlength=len(spans))
    return spans, sums.tolist()


def words_of(vocabulary, ids, pieces):
    """The word of each piece of a text, integers `(T,)` from 0, and the span of each word.

    Args:
        vocabulary: List of pieces.
        ids, pieces: As `piece_spans` returns them.

    >>> words_of(["[PAD]", "un", "##do", "it"], [1, 2, 3], [(0, 2), (2, 4), (5, 7)])
    (array([0, 0, 1]), [(0, 4), (5, 7)])
    """
    is_first = np.array([not vocabulary[number].startswith("##") for number in ids], bool)
    is_first[:1] = True
    words = np.cumsum(is_first) - 1
    return words, merged(words, pieces)


def merged(groups, spans):
    """The span from the first to the last of each group; groups are numbered in order, from 0.

    >>> merged([0, 0, 1], [(0, 2), (2, 4), (5, 7)])
    [(0, 4), (5, 7)]
    """
    found = []
    for group, (start, end) in zip(groups, spans, strict=True):
        if group == len(found):
            found.append((start, end))
        else:
            found[-1] = (found[-1][0], end)
    return found


def piece_spans(tokenizer, text):
    """Ids of a text's pieces, and for each its `(start, end)` in characters."""
    ((ids, spans),) = spans_of_many(tokenizer, [text])
    return ids, spans


def spans_of_many(tokenizer, texts, batch=2000):
    """Yields the same for each of many texts; `batch` texts at a time bound the memory."""
    import tensorflow as tf

    for start in range(0, len(texts), batch):
        part = texts[start : start + batch]
        found = tokenizer.tokenize_with_offsets(tf.constant([text.encode() for text in part]))
        edges = found[0].row_splits.numpy()[1:-1]
        columns = [np.split(ragged.values.numpy(), edges) for ragged in found]
        for text, ids, starts, ends in zip(part, *columns, strict=True):
            # Offsets count bytes, and may stand within a character that was normalized away.
            before = [0]
            for character in text:
                before += [before[-1]] * (len(character.encode()) - 1) + [before[-1] + 1]
            yield ids, [(before[a], before[b]) for a, b in zip(starts, ends, strict=True)]


def encode(vocabulary, text, *, cased=False):
    """Ids of one text in plain Python, to be ported to whatever language a phone speaks.

    Args:
        vocabulary: Dict from piece to id.
        text: String.
        cased: Whether capitals and accents are kept, as in `fast_tokenizer`.

    >>> encode({"[UNK]": 1, "go": 2, "##od": 3, "!": 4}, "Góod!  Gold")
    [2, 3, 4, 1]
    """
    return [number for word in _words(text, cased) for number in _pieces(vocabulary, word)]


def characters(*, cased=False):
    """What `encode` makes of each character, for programs whose Unicode is of another version.

    Args:
        cased: As for `encode`.

    Returns:
        Dict of ranges of code points, `[first, last, first, last, ...]`: `alone`, words of their
        own; `space`, what ends a word; `dropped`, nothing; `syllables`, which NFD takes apart. And
        `becomes`, a dict from each other character that does not stay as it is to a string, in
        which spaces end words.
    """
    ranges = {"alone": [], "space": [], "dropped": [], "syllables": []}
    becomes = {}
    # Planes 4 to 13 are empty, the last two for private use, as some others are.
    for number in [*range(0x40000), *range(0xE0000, 0xF0000)]:
        character = chr(number)
        if unicodedata.category(character) in ("Cs", "Co"):
            continue
        # Between two letters, to see whether it parts them.
        made = " ".join(_words(f"a{character}a", cased))[1:-1]
        kinds = {f" {character} ": "alone", " ": "space", "": "dropped"}
        if "\uac00" <= character <= "\ud7a3" and made != character:
            kinds[made] = "syllables"
        if made in kinds:
            found = ranges[kinds[made]]
            if found and found[-1] == number - 1:
                found[-1] = number
            else:
                found += [number, number]
        elif made != character:
            becomes[character] = made
    return {**ranges, "becomes": becomes}


def _words(text, cased=False):
    if not cased:
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        text = unicodedata.normalize("NFD", _IGNORABLE.sub("", text))
    words, word = [], ""
    for character in text:
        category = unicodedata.category(character)
        if category == "Mn" and not cased:  # an accent
            continue
        is_space = character.isspace() or category in ("Cc", "Cf", "Zs")
        if is_space or stands_alone(character, category):
            words += [word, "" if is_space else character]
            word = ""
        else:
            word += character
    return [word for word in [*words, word] if word]


def stands_alone(character, category):
    """Whether a character, of this Unicode category, is a word of its own: mostly punctuation."""
    is_ascii_symbol = character in "$+<=>^`|~"
    is_ideograph = any(
        first <= ord(character) <= last
        for first, last in (
            (0x3400, 0x4DBF),
            (0x4E00, 0x9FFF),
            (0xF900, 0xFAFF),
            (0x20000, 0x2CEAF),
            (0x2F800, 0x2FA1F),
        )
    )
    return category[0] == "P" or is_ascii_symbol or is_ideograph


def _pieces(vocabulary, word):
    """The longest piece that fits, again and again; one unknown if at some position none does."""
    numbers, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in vocabulary), None)
        if end is None or len(word.encode()) > 100:
            return [vocabulary[UNKNOWN]]
        numbers.append(vocabulary[prefix + word[start:end]])
        start = end
    return numbers
