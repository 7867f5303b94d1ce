"""BLEU, by sacrebleu."""

import itertools


def corpus(translations, references):
    """BLEU of translations, lists of strings, and sacrebleu's signature of how it was measured."""
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    score = metric.corpus_score(translations, [references]).score
    return score, str(metric.get_signature())


def by_order(captions, references):
    """BLEU-1 to 4 of captions against all references of their images, from 0 to 100.

    Captions and references are words in lower case without punctuation, set apart by spaces.
    """
    from sacrebleu.metrics import BLEU

    streams = list(itertools.zip_longest(*references))  # an image may have fewer than another
    return {
        f"BLEU-{order}": BLEU(tokenize="none", max_ngram_order=order, force=True)
        .corpus_score(captions, streams)
        .score
        for order in (4, 3, 2, 1)
    }
