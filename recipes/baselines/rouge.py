"""ROUGE, by Google's rouge-score with its stemmer."""

import numpy as np

KINDS = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
SIGNATURE = "rouge-score {version}, F1, stemmer, mean over references"


def corpus(summaries, references):
    """ROUGE-1, 2 and L of summaries against all references of each, out of 100.

    F1 with each reference of a document, of which the mean is taken, and beside it the best;
    then the mean over the documents.

    Args:
        summaries: List of strings.
        references: List of tuples of strings.

    Returns:
        Dict from `ROUGE-1`, `ROUGE-2`, `ROUGE-L` and the same with `, best reference` to floats.

    >>> figures = corpus(["a red door"], [("a red house", "a red door")])
    >>> round(figures["ROUGE-1"], 2), figures["ROUGE-1, best reference"]
    (83.33, 100.0)
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(KINDS.values()), use_stemmer=True)
    rows = [
        [scorer.score(reference, summary) for reference in known]
        for summary, known in zip(summaries, references, strict=True)
    ]
    figures = {}
    for name, combine in (("", np.mean), (", best reference", np.max)):
        for kind, key in KINDS.items():
            values = [combine([one[key].fmeasure for one in row]) for row in rows]
            figures[kind + name] = 100 * float(np.mean(values))
    return figures


def signature():
    """How it was measured, in one line."""
    from importlib.metadata import version

    return SIGNATURE.format(version=version("rouge-score"))
