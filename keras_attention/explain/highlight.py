"""Texts with their words shaded by weight, for the terminal and as HTML."""

import html

_BLOCK = "\x1b[48;2;{};{};{}m\x1b[38;2;0;0;0m{}\x1b[0m"


def to_terminal(text, spans, weights):
    """The text with each span's background shaded by its weight, as 24-bit ANSI colours.

    Args:
        text: String.
        spans: List of `(start, end)` in characters, in order and without overlap.
        weights: List of numbers, one a span; the largest in size gets the full colour. Positive
            is green, negative is red.

    Returns:
        String with escape sequences.
    """
    return "".join(
        part if weight is None else _BLOCK.format(*_colour(weight), part)
        for part, weight in _parts(text, spans, weights)
    )


def to_html(title, rows):
    """A page that shows texts shaded by weight.

    Args:
        title: String.
        rows: List of `(heading, text, spans, weights)`, each as in `to_terminal`.

    Returns:
        String, a whole HTML page without scripts or outside resources.

    Example:
        >>> page = to_html("Reviews", [("positive", "Very <good>", [(5, 11)], [1.0])])
        >>> '<mark style="background:#78c878" title="1">&lt;good&gt;</mark>' in page
        True
    """
    sections = []
    for heading, text, spans, weights in rows:
        marked = "".join(
            html.escape(part) if weight is None else _mark(part, weight, original)
            for (part, weight), original in zip(
                _parts(text, spans, weights), _originals(text, spans, weights), strict=True
            )
        )
        sections.append(f"<h2>{html.escape(heading)}</h2>\n<p>{marked}</p>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n"
        "body { font: 16px/1.7 sans-serif; max-width: 48em; margin: 2em auto; padding: 0 1em; "
        "color: #111; background: #fff; }\n"
        "p { white-space: pre-wrap; }\nmark { color: inherit; border-radius: 3px; }\n"
        "</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )


def _mark(part, shade, weight):
    colour = "#{:02x}{:02x}{:02x}".format(*_colour(shade))
    return f'<mark style="background:{colour}" title="{weight:.3g}">{html.escape(part)}</mark>'


def _parts(text, spans, weights):
    """Pieces of the text with their weight in [-1, 1], `None` between the spans."""
    largest = max((abs(float(weight)) for weight in weights), default=0.0) or 1.0
    end = 0
    for (start, stop), weight in zip(spans, weights, strict=True):
        yield text[end:start], None
        yield text[start:stop], float(weight) / largest
        end = stop
    yield text[end:], None


def _originals(text, spans, weights):
    """The weights as given, in step with `_parts`."""
    for weight in weights:
        yield None
        yield float(weight)
    yield None


def _colour(weight):
    """White at 0 to full green at 1 or red at -1, both light enough for black letters."""
    full = (120, 200, 120) if weight >= 0 else (240, 130, 120)
    return tuple(round(255 + (channel - 255) * abs(weight)) for channel in full)
