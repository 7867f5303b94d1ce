"""Word and character error rates of texts, by the package jiwer.

The error rate is the fewest substitutions, deletions and insertions that make the true texts of the
found ones, over all texts together, divided by the number of true words (characters).

    measure(["nine five"], ["nine"])["word_error_rate"]          # 0.5
"""


def measure(texts, found):
    """Error rates of words and characters, and the share of texts that are wrong, as a dict.

    Args:
        texts, found: Lists of strings; a true text has a word or more.

    >>> measure(["nine five one", "two"], ["nine one", "two"])
    {'word_error_rate': 0.25, 'character_error_rate': 0.3125, 'sentence_error_rate': 0.5}
    """
    import jiwer

    wrong = sum(a.split() != b.split() for a, b in zip(texts, found, strict=True))
    return {
        "word_error_rate": float(jiwer.wer(texts, found)),
        "character_error_rate": float(jiwer.cer(texts, found)),
        "sentence_error_rate": wrong / len(texts),
    }


def counts(texts, found):
    """How many words were substituted, deleted and inserted, and how many there are.

    >>> counts(["nine five one"], ["nine one one two"])
    {'words': 3, 'substitutions': 1, 'deletions': 0, 'insertions': 1}
    """
    import jiwer

    said = jiwer.process_words(texts, found)
    return {
        "words": said.hits + said.substitutions + said.deletions,
        "substitutions": said.substitutions,
        "deletions": said.deletions,
        "insertions": said.insertions,
    }


def by_part(texts, found):
    """Rates and counts of several parts of a data set.

    Args:
        texts, found: Dicts from the name of a part to its texts.

    Returns:
        Dict of the rates, whose names begin with that of the part but for `test`; and a dict from
        each part to its counts.

    >>> rates, of_part = by_part({"test": ["a b"], "long": ["a b c d"]}, {"test": ["a b"],
    ...     "long": ["a b c"]})
    >>> rates["word_error_rate"], rates["long_word_error_rate"], of_part["long"]["deletions"]
    (0.0, 0.25, 1)
    """
    rates, of_part = {}, {}
    for part, true in texts.items():
        before = "" if part == "test" else f"{part}_"
        scores = measure(true, found[part])
        rates |= {f"{before}{name}": value for name, value in scores.items()}
        of_part[part] = counts(true, found[part])
    return rates, of_part
