"""How far explanations agree."""

import itertools

import numpy as np
import pytest

import keras_attention as ka
from tests.explain.texts import judge, make_texts


def test_agreement_is_spearmans_rank_correlation():
    stats = pytest.importorskip("scipy.stats")
    ids = make_texts(12)
    rng = np.random.default_rng(1)
    said = {name: rng.integers(0, 5, ids.shape) / 4 for name in ("attention", "first", "second")}
    said["second"][4] = 1.0  # orders nothing, so does not count
    rivals = {name: said[name] for name in ("first", "second")}
    report = ka.explanation_report(judge, ids, said["attention"], rivals=rivals)
    said["leave-one-out"] = report.attributions["leave-one-out"]
    for one, other in itertools.permutations(said, 2):
        found = []
        for b, row in enumerate(ids):
            x, y = said[one][b, row > 0], said[other][b, row > 0]
            if len(set(x)) > 1 and len(set(y)) > 1:
                found.append(stats.spearmanr(x, y).statistic)
        assert report.agreement[one][other] == pytest.approx(np.mean(found))


def test_agreement_of_what_orders_nothing_is_not_known():
    ids = make_texts()
    report = ka.explanation_report(judge, ids, np.ones(ids.shape))
    assert np.isnan(report.agreement["attention"]["leave-one-out"])
    assert report.to_dict()["agreement"]["attention"]["leave-one-out"] is None
