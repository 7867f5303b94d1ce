"""Texts whose words, and optionally sentences, are shaded by weight: terminal and HTML.

On a stream without colours the weights follow the words instead: `not(0.41)`.
"""

import html
import itertools
import math
import os
import sys

_BLOCK = "\x1b[48;2;{};{};{}m\x1b[38;2;0;0;0m{}\x1b[0m"
# Light enough for black letters.
_GREEN, _RED, _BLUE, _WHITE = (120, 200, 120), (240, 130, 120), (150, 195, 250), (255, 255, 255)
# Words with a smaller fraction of the largest weight are not marked in plain text.
_LEAST = 0.2


def shade(text, spans, weights, sentences=((), ()), stream=None):
    """The text for a stream: `to_terminal` if it shows colours, else `to_plain`.

    A stream shows colours if it is a terminal without `TERM=dumb`. A non-empty environment variable
    `NO_COLOR` switches colours off; otherwise a non-empty `FORCE_COLOR` switches them on.

    Args:
        text, spans, weights, sentences: As in `to_terminal`.
        stream: The stream that the text is for; standard output if `None`.

    Returns:
        String.

    Raises:
        ValueError: If spans and weights differ in number.

    Reference:
        https://no-color.org and https://force-color.org
    """
    form = to_terminal if _shows_colours(stream or sys.stdout) else to_plain
    return form(text, spans, weights, sentences)


def _shows_colours(stream):
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def to_plain(text, spans, weights, sentences=((), ())):
    """The text with large weights written after their words and before their sentences.

    A word's weight is written if it is at least a fifth of the largest weight of a word, a
    sentence's if it is at least a fifth of the largest weight of a sentence.

    Args:
        text, spans, weights, sentences: As in `to_terminal`.

    Returns:
        String without escape sequences.

    Raises:
        ValueError: If spans and weights differ in number.

    Example:
        >>> print(to_plain("It was not bad.", [(0, 2), (7, 10), (11, 14)], [0.02, 0.61, 0.37]))
        It was not(0.61) bad(0.37).
        >>> print(to_plain("Hi. It was bad.", [(11, 14)], [0.7], ([(0, 3), (4, 15)], [0.1, 0.9])))
        Hi. [0.90] It was bad(0.70).
    """
    marks = [(end, 0, f"({_short(weight)})") for (_, end), weight in _heavy(spans, weights)]
    marks += [(start, 1, f"[{_short(weight)}] ") for (start, _), weight in _heavy(*sentences)]
    parts, done = [], 0
    for position, _, mark in sorted(marks):
        parts += [text[done:position], mark]
        done = position
    return "".join([*parts, text[done:]])


def _heavy(spans, weights):
    """Pairs of a span and its weight, for weights that are large enough to be written."""
    least = _LEAST * max((abs(float(weight)) for weight in weights), default=0.0)
    for (start, end), weight in zip(spans, map(float, weights), strict=True):
        if start < end and abs(weight) >= least > 0:
            yield (start, end), weight


def _short(weight):
    """The weight with at least two decimals and two significant digits."""
    decimals = 1 - math.floor(math.log10(abs(weight)))
    return f"{weight:.{max(2, decimals)}f}"


def to_terminal(text, spans, weights, sentences=((), ())):
    """The text with each span's background shaded by its weight, as 24-bit ANSI colours.

    Args:
        text: String.
        spans: List of `(start, end)` in characters, in order and without overlap.
        weights: List of numbers, one per span; the largest in absolute value gets the full colour.
            Positive is green, negative is red.
        sentences: Two lists, the spans and weights of the sentences; shaded in blue behind the
            words.

    Returns:
        String with escape sequences.

    Raises:
        ValueError: If spans and weights differ in number.
    """
    return "".join(
        part if colour is None else _BLOCK.format(*colour, part)
        for part, colour, _ in _parts(text, (spans, weights), sentences)
    )


def to_html(title, rows):
    """An HTML page of texts shaded by weight.

    Args:
        title: String.
        rows: List of `(heading, text, spans, weights)` or `(heading, text, spans, weights,
            sentences)`, each as in `to_terminal`.

    Returns:
        String, a whole HTML page without scripts or external resources.

    Raises:
        ValueError: If spans and weights differ in number.

    Example:
        >>> page = to_html("Reviews", [("positive", "Very <good>", [(5, 11)], [1.0])])
        >>> '<mark style="background:#78c878" title="1">&lt;good&gt;</mark>' in page
        True
    """
    sections = [
        f"<h2>{html.escape(heading)}</h2>\n<p>{marked(text, spans, weights, *sentences)}</p>"
        for heading, text, spans, weights, *sentences in rows
    ]
    return page_of(title, "\n".join(sections), "p { white-space: pre-wrap; }")


def marked(text, spans, weights, sentences=((), ())):
    """The text as HTML, shaded by weight; arguments and errors as for `to_terminal`."""
    return "".join(
        html.escape(part) if colour is None else _mark(part, colour, label)
        for part, colour, label in _parts(text, (spans, weights), sentences)
    )


def page_of(title, body, style=""):
    """A whole HTML page without scripts or external resources.

    Args:
        title: String, the title and the heading.
        body: String, HTML that follows the heading.
        style: String, CSS beside that of the page.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n"
        "body { font: 16px/1.7 sans-serif; max-width: 48em; margin: 2em auto; padding: 0 1em; "
        f"color: #111; background: #fff; }}\n{style}\n"
        "mark { color: inherit; border-radius: 3px; }\n"
        f"</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _mark(part, colour, label):
    code = "#{:02x}{:02x}{:02x}".format(*colour)
    return f'<mark style="background:{code}" title="{label}">{html.escape(part)}</mark>'


def _parts(text, words, sentences=((), ())):
    """Pieces of the text, each with its colour and a label of its weights, or `None` for both."""
    word_at, sentence_at = _Shades(*words), _Shades(*sentences)
    edges = sorted({0, len(text), *word_at.edges(), *sentence_at.edges()})
    for start, end in itertools.pairwise(edges):
        word, sentence = word_at[start], sentence_at[start]
        if word is None and sentence is None:
            yield text[start:end], None, None
            continue
        colour = _WHITE
        if sentence is not None:
            colour = _blend(colour, _BLUE, abs(sentence) / sentence_at.largest)
        if word is not None:
            full = _GREEN if word >= 0 else _RED
            colour = _blend(colour, full, abs(word) / word_at.largest)
        label = [f"{word:.3g}"] if word is not None else []
        label += [f"sentence {sentence:.3g}"] if sentence is not None else []
        yield text[start:end], tuple(map(round, colour)), ", ".join(label)


class _Shades:
    """The weight at each position of a text."""

    def __init__(self, spans, weights):
        self.largest = max((abs(float(weight)) for weight in weights), default=0.0) or 1.0
        self._spans = list(zip(spans, map(float, weights), strict=True))
        self._next = 0

    def edges(self):
        return [edge for span, _ in self._spans for edge in span]

    def __getitem__(self, position):
        """The weight at a position, `None` outside the spans; positions must not decrease."""
        while self._next < len(self._spans) and self._spans[self._next][0][1] <= position:
            self._next += 1
        if self._next == len(self._spans) or position < self._spans[self._next][0][0]:
            return None
        return self._spans[self._next][1]


def _blend(colour, full, weight):
    return tuple(a + (b - a) * weight for a, b in zip(colour, full, strict=True))
