"""Answers to questions about passages without a network: the best of the spans that may be one.

baselines(data, "words", seed=0)       # figures on the test split, for `records.show_scores`
"""

import re
from collections import Counter

import numpy as np

from recipes.kit import answers
from recipes.text import offsets

# What stands together: words with spaces between them; runs of one kind of letter without.
_WORDS = re.compile(r"[^\W_]+(?:[-'\u2019.,][^\W_]+)*")
_RUNS = re.compile(
    r"(?P<kanji>[\u3400-\u9fff\u3005-\u3007]+)|(?P<katakana>[\u30a1-\u30ff]+)"
    r"|(?P<hiragana>[\u3041-\u309f]+)|(?P<digits>\d+(?:[.,]\d+)*)|(?P<latin>[A-Za-z]+)|(?P<other>\w)"
)
_MOST = {True: 4, False: 5}  # units of a candidate
_WINDOWS = {True: (20, 60, 150), False: (8, 24, 60)}  # characters around it
_CUES = 150  # grams of questions that may tell what is asked for
_QUESTIONS, _WRONG = 5000, 12  # to learn from, and wrong candidates of each


def baselines(data, metric, *, seed=0):
    """Exact match and F1 on the test split of two ways, as a dict of dicts.

    Args:
        data: `recipes.data.reading.Passages`.
        metric: One of `answers.METRICS`.
        seed: Integer, of what the regression learns from.
    """
    is_spaced = offsets.is_spaced(dict.fromkeys(data.train.contexts))
    found = {
        "sliding window": sliding_window(data.test, is_spaced),
        "candidates, logistic regression": regression(data.train, data.test, is_spaced, seed=seed),
    }
    return {name: answers.measure(data.test.right, x, metric) for name, x in found.items()}


def sliding_window(split, is_spaced):
    """For each question the candidate whose surroundings have most of the question's words.

    A window of as many words (without spaces: pairs of characters) as the question has slides over
    the passage; each word of the question in it weighs log(1 + 1 / its count in the passage). A
    candidate scores as the best window that touches it. What the question has is no candidate; of
    equal ones the longest is taken.

    Args:
        split: `recipes.data.reading.Split`.
        is_spaced: Boolean, whether there are spaces between words.

    Returns:
        List of strings.

    Reference:
        Richardson, Burges & Renshaw, 2013, algorithm 1, https://aclanthology.org/D13-1020
        There answers are given, and their words count in the window too.
    """
    found = []
    for passage, question in _passages(split, is_spaced):
        asked = {gram for gram, _ in _grams(question, is_spaced)}
        counts = Counter(passage.grams)
        weights = [np.log1p(1 / counts[gram]) * (gram in asked) for gram in passage.grams]
        total = np.cumsum([0.0, *weights])
        size = min(len(asked), len(weights))
        windows = total[size:] - total[: len(total) - size]
        scores = []
        for start, end in passage.candidates:
            first, last = np.searchsorted(passage.places, (start, end))
            near = windows[max(0, first - size + 1) : max(1, last)]
            is_asked = total[last] > total[first]
            scores.append(-1.0 if is_asked else near.max(initial=0.0) + 1e-6 * (end - start))
        found.append(passage.text(scores))
    return found


def regression(train, test, is_spaced, *, seed=0):
    """For each question the best candidate by a logistic regression.

    Features: the weight of the question's words (without spaces: pairs of characters) near the
    candidate, in it, and in its sentence; its kind of letters alone and beside what the question
    asks with; the characters or words around it.

    Args:
        train, test: `recipes.data.reading.Split`s.
        is_spaced: Boolean, whether there are spaces between words.
        seed: Integer.

    Returns:
        List of strings.

    Reference:
        Rajpurkar et al., 2016, section 5.2, https://arxiv.org/abs/1606.05250
        There candidates are the constituents of a parse, and there are more features.
    """
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    rng = np.random.default_rng(seed)
    contexts = dict.fromkeys(train.contexts)
    frequency = Counter(
        gram for text in contexts for gram in {gram for gram, _ in _grams(text, is_spaced)}
    )
    idf = {gram: np.log(len(contexts) / count) for gram, count in frequency.items()}
    cues = Counter(
        gram for text in train.questions for gram in {gram for gram, _ in _grams(text, is_spaced)}
    )
    cues = {gram for gram, _ in cues.most_common(_CUES)}
    hasher = FeatureHasher(2**18, input_type="pair", alternate_sign=False)
    seen, labels = [], []
    chosen = train.take(sorted(rng.permutation(len(train))[:_QUESTIONS].tolist()))
    for (passage, question), right in zip(
        _passages(chosen, is_spaced), chosen.answers, strict=True
    ):
        right = {(start, start + len(text)) for text, start in right}
        is_right = np.array([span in right for span in passage.candidates], bool)
        if is_right.any():
            wrong = rng.permutation(np.flatnonzero(~is_right))[:_WRONG]
            rows = [*np.flatnonzero(is_right), *wrong]
            seen += passage.features(question, rows, idf, cues)
            labels += is_right[rows].tolist()
    if len(set(labels)) < 2:  # no candidate is right
        return [""] * len(test)
    model = SGDClassifier(
        "log_loss", alpha=1e-6, max_iter=10, tol=None, average=True, random_state=seed
    )
    model.fit(hasher.transform(seen), labels)
    found = []
    for passage, question in _passages(test, is_spaced):
        features = passage.features(question, range(len(passage.candidates)), idf, cues)
        scores = model.decision_function(hasher.transform(features)) if features else []
        found.append(passage.text(scores))
    return found


def _passages(split, is_spaced):
    """Yields the `_Passage` and the question of each row; the former is made once."""
    known = {}
    for context, question in zip(split.contexts, split.questions, strict=True):
        if context not in known:
            known[context] = _Passage(context, is_spaced)
        yield known[context], question


def _grams(text, is_spaced):
    """Pairs of what two texts may share, and where it begins: words, or pairs of characters."""
    text = "".join(map(offsets.fold, text))
    if is_spaced:
        return [(match[0], match.start()) for match in _WORDS.finditer(text)]
    pairs = ((text[at : at + 2], at) for at in range(len(text) - 1))
    return [(pair, at) for pair, at in pairs if pair.isalnum()]


class _Passage:
    """A passage, the spans of it that may be answers, and its grams."""

    def __init__(self, context, is_spaced):
        self.context, self.is_spaced = context, is_spaced
        pairs = _grams(context, is_spaced)
        self.grams = [gram for gram, _ in pairs]
        self.places = np.array([place for _, place in pairs], int)
        units = [
            (*match.span(), _shape(match[0]) if is_spaced else match.lastgroup)
            for match in (_WORDS if is_spaced else _RUNS).finditer(context)
        ]
        self.candidates, self.shapes, self.around = [], [], []
        texts = ["", *(context[start:end] for start, end, _ in units), ""]
        for first, (start, before, shape) in enumerate(units):
            shapes = []
            for at, end, shape in units[first : first + _MOST[is_spaced]]:
                if shapes and context[before:at].strip(" " if is_spaced else ""):
                    break  # something stands between
                before = end
                shapes.append(shape)
                # Particles and endings of words neither begin nor end an answer.
                if len(shapes) == 1 or "hiragana" not in (shapes[0], shapes[-1]):
                    self.candidates.append((start, end))
                    self.shapes.append("+".join(shapes))
                    self.around.append((texts[first], texts[first + len(shapes) + 1]))

    def text(self, scores):
        """The candidate with the best score; of equal ones the first."""
        if not len(scores):
            return ""
        start, end = self.candidates[int(np.argmax(scores))]
        return self.context[start:end]

    def features(self, question, rows, idf, cues):
        """A list of pairs of a name and a number for each of some candidates."""
        if not self.candidates:
            return []
        asked = {gram for gram, _ in _grams(question, self.is_spaced)}
        told = np.zeros(len(self.context) + 1)  # the weight of the grams that begin here
        for gram, place in zip(self.grams, self.places, strict=True):
            told[place] = idf.get(gram, 8.0) * (gram in asked)
        told = np.concatenate([[0], np.cumsum(told)])
        starts, ends = np.array(self.candidates).T
        stops = [match.end() for match in re.finditer(r"[.!?\u3002\uff01\uff1f\n]", self.context)]
        sentences = np.array([0, *stops, len(self.context)])
        number = np.searchsorted(sentences[:-1], starts, side="right")
        own = told[ends] - told[starts]
        numbers = {"sentence": told[sentences[number]] - told[sentences[number - 1]] - own}
        for size in _WINDOWS[self.is_spaced]:
            numbers[f"before {size}"] = told[starts] - told[np.maximum(starts - size, 0)]
            numbers[f"after {size}"] = told[np.minimum(ends + size, len(self.context))] - told[ends]
            numbers[f"near {size}"] = numbers[f"before {size}"] + numbers[f"after {size}"]
        # One candidate is taken: what counts is how far it is behind the best.
        numbers = {name: x / max(x.max(), 1e-6) for name, x in numbers.items()}
        numbers["length"] = np.log1p(ends - starts) / 4
        asked_with = sorted(asked & cues)
        features = []
        for row in rows:
            (before, after), shape = self.around[row], self.shapes[row]
            first, last = self.context[starts[row]], self.context[ends[row] - 1]
            names = [shape, f"before {before}", f"after {after}", f"begins {first}", f"ends {last}"]
            names += [f"asked {own[row] > 0}"]
            names += [f"{cue} {x}" for cue in asked_with for x in (shape, last, f"after {after}")]
            features.append(
                [(name, x[row]) for name, x in numbers.items()] + [(name, 0.5) for name in names]
            )
        return features


def _shape(word):
    """The kind of a word.

    >>> _shape("1,945"), _shape("Paris"), _shape("in")
    ('0', 'Xx', 'x')
    """
    if word[0].isdigit():
        return "0"
    return "Xx" if word[0].isupper() else "x"
