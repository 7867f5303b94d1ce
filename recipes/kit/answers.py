"""How well answers are found in texts: exact match and F1, as SQuAD and JaQuAD define them.

`words`: lower case, without punctuation and English articles, cut at spaces; SQuAD's own script.
`characters`, for scripts without spaces: NFKC, lower case, without punctuation and spaces; SQuAD's
steps for characters. `jaquad`: characters without spaces alone, and an answer is exact if F1 is 1;
JaQuAD's own script. Of several right answers to a question the best counts.

    measure([["Rome", "the city of Rome"]], ["in Rome"], "words")
"""

import re
import string
import unicodedata
from collections import Counter

METRICS = ("words", "characters", "jaquad")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text):
    """The words of a text that are compared.

    >>> words("The cat's  A-team.")
    ['cats', 'ateam']
    """
    text = re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION))
    return text.split()


def characters(text):
    """The characters of a text that are compared.

    >>> characters("「AB」 の、3倍")
    ['a', 'b', 'の', '3', '倍']
    """
    return [
        character
        for character in unicodedata.normalize("NFKC", text).lower()
        if not character.isspace() and unicodedata.category(character)[0] not in "PC"
    ]


def in_any_order(text):
    """The characters of a text but spaces, sorted: equal where F1 is 1.

    >>> in_any_order("「の 3倍」")
    ['3', '「', '」', 'の', '倍']
    """
    return sorted("".join(text.split()))


_UNITS = dict(zip(METRICS, (words, characters, in_any_order), strict=True))


def exact_match(true, found, metric):
    """Whether two answers are the same once normalized, as 0.0 or 1.0.

    >>> exact_match("the Eiffel Tower", "Eiffel tower.", "words")
    1.0
    """
    return float(_UNITS[metric](true) == _UNITS[metric](found))


def f1(true, found, metric):
    """F1 of the units that two answers share, each as often as both have it.

    >>> f1("the Eiffel Tower", "tower in Paris", "words")
    0.4
    """
    true, found = _UNITS[metric](true), _UNITS[metric](found)
    shared = sum((Counter(true) & Counter(found)).values())
    return 2 * shared / (len(true) + len(found)) if shared else 0.0


def measure(true, found, metric):
    """Means of exact match and F1 over questions, as a dict.

    Args:
        true: List of lists of strings, the right answers to each question.
        found: List of strings.
        metric: One of `METRICS`.
    """
    pairs = list(zip(true, found, strict=True))
    return {
        name: sum(max(score(one, text, metric) for one in right) for right, text in pairs)
        / len(pairs)
        for name, score in (("exact_match", exact_match), ("f1", f1))
    }
