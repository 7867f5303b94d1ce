"""What a report is shown as: its page, its curves, its figures."""

import html.parser
import json

import numpy as np
import pytest

import keras_attention as ka
from tests.explain.texts import looks_for_the_planted, planted


@pytest.fixture(scope="module")
def report():
    ids, _, places = planted(20)
    weights = np.random.default_rng(1).random(ids.shape)
    weights[np.arange(20), places] = 2
    return ka.explanation_report(
        looks_for_the_planted, ids, weights, rivals={"my <rival> & co": weights**2}, unit="word"
    )


def _words(report, b):
    return [f"w{number}" for number in range(int(report.mask[b].sum()))]


class _Page(html.parser.HTMLParser):
    """The tags of a page and its text; fails where tags do not close."""

    VOID = {"meta", "img", "br", "link", "hr", "input", "col"}

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.text.append(data)


def test_to_dict_is_json(report):
    found = report.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["verdict"] == report.verdict
    assert found["sentence"] == report.sentence
    assert found["figures"]["attention"]["aopc"] == pytest.approx(
        report.figures["attention"]["aopc"], abs=1e-5
    )


def test_to_html_stands_alone_and_escapes(report):
    pytest.importorskip("matplotlib")
    words = _words(report, 0)
    words[0], words[1] = "<b>&amp;", 'a"b<script>'
    source = report.to_html(
        title="Is <it> true & fair?", examples=[words], headings=["<i>Class</i> & co"]
    )
    page = _Page(source)
    text = "".join(page.text)
    assert report.sentence in text
    assert "Is <it> true & fair?" in text
    assert "<i>Class</i> & co" in text
    assert "my <rival> & co" in text
    assert text.count("<b>&amp;") == text.count('a"b<script>') == 2  # by attention and by a rival
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "iframe", "i"} & set(names)
    assert names.count("table") == 2
    for _, attributes in page.tags:
        for value in (attributes.get("src"), attributes.get("href")):
            assert value is None or value.startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in source
    assert "@import" not in source


def test_to_html_shades_by_attention_and_by_the_best_rival(report):
    pytest.importorskip("matplotlib")
    texts = ["".join(_words(report, 0)), " ".join(_words(report, 1))]
    spans = [[(2 * n, 2 * n + 2) for n in range(len(_words(report, 0)))]]
    plain = report.to_html()
    source = report.to_html(examples=[(texts[0], spans[0]), _words(report, 1)])
    text = "".join(_Page(source).text)
    assert text.count(texts[0]) == 2
    assert text.count(texts[1]) == 2
    assert source.count("<mark") - plain.count("<mark") > 2
    assert "attention" in text
    assert "leave-one-out" in text


def test_to_html_embeds_images():
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    images, weights = rng.random((12, 8, 8, 3)), rng.random((12, 2, 2))
    report = ka.explanation_report(lambda x: x.mean((1, 2, 3)), images, weights, unit="cell")
    plain = [tag for tag, _ in _Page(report.to_html()).tags].count("img")
    page = _Page(report.to_html(examples=images[:2]))
    found = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(found) >= plain + 2
    for attributes in found:
        assert attributes["src"].startswith("data:image/png;base64,")
        assert attributes["alt"]


def test_to_html_rejects_examples_with_too_few_parts(report):
    pytest.importorskip("matplotlib")
    few = _words(report, 0)[:-1]
    with pytest.raises(ValueError, match=r"`examples` must have .* Received: .*of example 0"):
        report.to_html(examples=[few])
    with pytest.raises(ValueError, match=r"`examples` must have .* Received: .*of example 1"):
        report.to_html(examples=[_words(report, 0), ("a b", [(0, 1), (2, 3)])])


def test_to_html_rejects_other_numbers_of_examples_and_headings(report):
    with pytest.raises(ValueError, match=r"`examples` must be the first .* Received: 21 of 20"):
        report.to_html(examples=[["a"]] * 21)
    with pytest.raises(ValueError, match=r"`headings` must have .* Received: 1 for 2"):
        report.to_html(examples=[_words(report, 0), _words(report, 1)], headings=["one"])


def test_plot_has_a_curve_of_each_method_in_both_panels(report):
    pytest.importorskip("matplotlib")
    figure = report.plot()
    assert len(figure.axes) == 2
    for axes, curve in zip(figure.axes, ("deletion", "insertion"), strict=True):
        drawn = [line.get_ydata() for line in axes.lines]
        for of_method in report.curves.values():
            assert any(
                np.allclose(y, of_method[curve]) for y in drawn if len(y) == len(report.fractions)
            )
        assert "word" in axes.get_xlabel()
