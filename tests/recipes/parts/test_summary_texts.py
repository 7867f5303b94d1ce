"""Documents and summaries as words; searches and exports run in the tests of the recipe."""

import numpy as np
import pytest

from recipes import summarization as recipe
from recipes.data import summaries
from recipes.data.toy import reports
from recipes.parts.summary_texts import Texts
from recipes.text.copyable import END
from tests.backend import needs_tensorflow

pytestmark = needs_tensorflow

CONFIG = recipe.Config(vocabulary_size=300, max_document=30, max_summary=8, batch_size=4)


@pytest.fixture(scope="module")
def texts():
    return Texts.read(CONFIG, summaries.load("toy", seed=0, limit=20))


def test_labels_point_into_their_document(texts):
    inputs, labels = texts.batches(CONFIG)["validation"][0]
    by_text = {report.document: report for report in reports.splits()[1]}
    for row, document in enumerate(texts.data.validation.documents[:4]):
        first, verb, second, mark, *rest = labels[row].tolist()
        known = texts.known
        assert known.names([verb, mark], []) == [by_text[document].summary.split()[1], "."]
        assert rest == [END, *[0] * (len(rest) - 1)]
        for word, position in zip((first, second), by_text[document].copied, strict=True):
            assert word == known.known + position == inputs["source"][row, position]


def test_long_summaries_are_cut_and_what_follows_is_not_learned(texts):
    short = recipe.Config(max_summary=3, batch_size=4)
    for batches in texts.batches(short).values():
        for _, labels in (batches[n] for n in range(len(batches))):
            assert labels.shape == (4, 3) and (labels != END).all()


def test_words_become_text_again(texts):
    reports_of = {report.document: report for report in reports.splits()[2]}
    expected = [reports_of[document] for document in texts.data.test.documents]
    written = [
        source[[report.copied[0], report.copied[0] + 1, report.copied[1], report.copied[1] + 1]]
        for source, report in zip(texts.sources["test"], expected, strict=True)
    ]
    assert texts.texts(written) == [report.summary for report in expected]


def test_documents_are_read_up_to_their_limit(texts):
    cut = Texts.read(
        recipe.Config(vocabulary_size=300, max_document=7), summaries.load("toy", seed=0, limit=20)
    )
    for short, whole in zip(cut.sources["test"], texts.sources["test"], strict=True):
        assert len(short) == 7 < len(whole)
        np.testing.assert_array_equal(short, whole[:7])
