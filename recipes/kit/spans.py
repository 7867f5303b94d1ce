"""Spans that tags mark, and how well they are found: F1 as the package `seqeval` defines it.

Tags are `O`, outside of any span, or `B-TYPE`, `I-TYPE` (begin, inside), in tagging schemes with
more letters also `E-TYPE`, `S-TYPE` (end, single). Which tags begin and end a span is read as
seqeval reads them by default (as conlleval does): an `I-` after `O`, after nothing or after another
type begins a span as well, so that the older scheme IOB1 is read alike. A found span counts if its
type, its first and its last token are all those of a true one.

    spans_of(["B-city", "I-city", "O", "I-day"])     # [("city", 0, 2), ("day", 3, 4)]
    measure(true, found)                             # precision, recall and F1 over all spans
"""

import re
from collections import Counter

TAG = re.compile(r"O|[BIES](-.+)?")


def is_tag(tag):
    """Whether a string is a tag of these schemes."""
    return TAG.fullmatch(tag) is not None


def spans_of(tags):
    """The spans in the tags of a sentence, as triples of a type, a start and an end.

    Args:
        tags: List of strings.

    Returns:
        List of `(type, start, end)` in tokens; the token `end` is the first behind the span.
    """
    spans, start, before = [], None, ("O", "")
    for index, tag in enumerate([*tags, "O"]):
        letter, kind = tag[0], tag[2:]
        is_new = begins_span(before, (letter, kind))
        if start is not None and (is_new or letter == "O"):
            spans.append((before[1], start, index))
            start = None
        if is_new:
            start = index
        before = letter, kind
    return spans


def begins_span(before, tag):
    """Whether a tag begins a span after another; both are pairs of a letter and a type."""
    letter, kind = tag
    if letter == "O":
        return False
    return letter in "BS" or before[0] in "OES" or before[1] != kind


def stray_tags(tags):
    """How many spans of a sentence begin with `I-` or `E-`, which IOB2 does not allow."""
    return sum(tags[start][0] in "IE" for _, start, _ in spans_of(tags))


def measure(true, found):
    """Precision, recall and F1 over the spans of all sentences together (micro), as a dict.

    Args:
        true, found: Lists of lists of tags, one list per sentence.

    >>> measure([["B-city", "I-city", "O", "B-day"]], [["B-city", "I-city", "O", "O"]])
    {'slot_f1': 0.66..., 'slot_precision': 1.0, 'slot_recall': 0.5}
    """
    counted = [sum(counts.values()) for counts in _counts(true, found)]
    precision, recall, f1 = _scores(*counted)
    return {"slot_f1": f1, "slot_precision": precision, "slot_recall": recall}


def by_type(true, found):
    """For each type its number of true spans, and its precision, recall and F1, as a dict."""
    counts = _counts(true, found)
    rows = {}
    for kind in sorted(set().union(*counts)):
        precision, recall, f1 = _scores(*(counted[kind] for counted in counts))
        rows[kind] = {
            "spans": counts[0][kind],
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "f1": round(f1, 4),
        }
    return rows


def _counts(true, found):
    """Spans of each type: those that are true, those that were found, and those that are both."""
    counts = Counter(), Counter(), Counter()
    for true_tags, found_tags in zip(true, found, strict=True):
        if len(true_tags) != len(found_tags):
            raise ValueError(
                "Expected a tag for each token. "
                f"Received: {len(found_tags)} tags for {len(true_tags)} tokens"
            )
        both = set(spans_of(true_tags)), set(spans_of(found_tags))
        for counted, spans in zip(counts, [*both, both[0] & both[1]], strict=True):
            counted.update(kind for kind, _, _ in spans)
    return counts


def _scores(true, found, right):
    """Precision, recall and F1; 0 where there is nothing to divide by."""
    precision = right / found if found else 0.0
    recall = right / true if true else 0.0
    return precision, recall, 2 * right / (true + found) if true + found else 0.0
