"""An `ExplanationReport` as one HTML page."""

import base64
import html
import itertools

import numpy as np

from keras_attention.explain.highlight import marked, page_of
from keras_attention.explain.plots import plot_image_attention

_STYLE = """\
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: 0.2em 0.8em 0.2em 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr:first-child { border-bottom: 1px solid #999; }
img { max-width: 100%; display: block; }
.sentence { font-size: 1.2em; }
.text { white-space: pre-wrap; }
.method { color: #666; display: block; font-size: 0.85em; }"""
_COLUMNS = {
    "aopc": "AOPC",
    "error": "± standard error",
    "comprehensiveness": "comprehensiveness",
    "sufficiency": "sufficiency",
    "insertion": "insertion",
}
_ABOUT = (
    "<b>AOPC</b> is how far the probability of the predicted class falls on average while the "
    "{unit}s with the largest weights are removed, one tenth at a time: the larger, the better "
    "the method knows what the model used. <b>Comprehensiveness</b> is the same for the first 1 to "
    "50 %. <b>Sufficiency</b> is how far it falls if these alone are kept: the smaller, the "
    "better. <b>Insertion</b> is the mean probability while they are put back, one tenth "
    "at a time. Random weights know nothing; equal (uniform) weights remove {unit}s from the start "
    "on. Leave-one-out removes each {unit} alone and needs no attention."
)
_PERMUTED = (
    "Where the weights are shuffled inside the model, its probabilities move by {distance:.3f} "
    "(total variation distance), and {flips:.1%} of the predicted classes change. Where they "
    "hardly move, the model does not need the weights, and they cannot explain it."
)


def page(report, title, examples, headings):
    """The page, a string; see `ExplanationReport.to_html`."""
    if len(examples) > len(report.mask):
        raise ValueError(
            "`examples` must be the first examples of the inputs. Received: "
            f"{len(examples)} of {len(report.mask)}"
        )
    if headings is not None and len(headings) != len(examples):
        raise ValueError(
            "`headings` must have a string for each of the `examples`. Received: "
            f"{len(headings)} for {len(examples)}"
        )
    sections = [
        f'<p class="sentence">{html.escape(report.sentence)}</p>',
        "<h2>Tests</h2>",
        f"<p>{len(report.mask):,} examples.</p>",
        _table(["", *_COLUMNS.values()], _rows_of_figures(report)),
        f"<p>{_ABOUT.format(unit=html.escape(report.unit))}</p>",
    ]
    if report.permutation is not None:
        sections.append(f"<p>{_PERMUTED.format(**report.permutation)}</p>")
    sections += [
        "<h2>Curves</h2>",
        _picture(
            report.plot(),
            "Mean probability of the predicted class by the share of parts "
            "that are removed, and that are kept, for each method",
        ),
        "<h2>Agreement</h2>",
        "<p>Spearman's rank correlation between what two methods say, mean over the examples.</p>",
        _table(["", *report.agreement], _rows_of_agreement(report)),
    ]
    if len(examples):
        sections.append("<h2>Examples</h2>")
    for number, example in enumerate(examples):
        heading = headings[number] if headings is not None else _heading(report, number)
        sections += [f"<h3>{html.escape(heading)}</h3>", _example(report, number, example)]
    return page_of(title, "\n".join(sections), _STYLE)


def _rows_of_figures(report):
    for name, figures in report.figures.items():
        yield [html.escape(name), *(_number(figures[column]) for column in _COLUMNS)]


def _rows_of_agreement(report):
    for name, others in report.agreement.items():
        yield [
            html.escape(name),
            *("" if other == name else _number(others[other]) for other in report.agreement),
        ]


def _heading(report, number):
    probabilities = report.probabilities[number]
    return f"class {probabilities.argmax()}, probability {probabilities.max():.3f}"


def _example(report, number, example):
    """The parts of an example, shaded by attention and by the best rival."""
    shown = []
    for name in ("attention", report.best_rival):
        weights = report.attributions[name][number]
        label = f'<span class="method">{html.escape(name)}</span>'
        if report.grid is not None:
            shown.append(f"<div>{label}{_image(example, report, weights, name)}</div>")
        else:
            text, spans = _text_and_spans(example)
            weights = weights[: len(spans)]
            if len(weights) < len(spans) or report.mask[number, len(spans) :].any():
                raise ValueError(
                    "`examples` must have a string or a span for each part. Received: "
                    f"{len(spans)} for {int(report.mask[number].sum())} parts of example {number}"
                )
            shown.append(f'<p class="text">{label}{marked(text, spans, weights)}</p>')
    return "\n".join(shown)


def _text_and_spans(example):
    """A text, and the `(start, end)` of its parts."""
    if isinstance(example, tuple):
        return example
    ends = list(itertools.accumulate(len(word) + 1 for word in example))
    spans = [(end - 1 - len(word), end - 1) for word, end in zip(example, ends, strict=True)]
    return " ".join(example), spans


def _image(image, report, weights, name):
    figure = plot_image_attention(image, np.maximum(weights, 0).reshape(report.grid))
    return _picture(figure, f"The image, and it shaded by {name}")


def _picture(figure, text):
    data = base64.b64encode(figure._repr_png_()).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">'


def _table(header, rows):
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>\n<tr>{cells}</tr>\n{body}\n</table>"


def _number(value):
    return f"{value:.3f}" if np.isfinite(value) else "-"
