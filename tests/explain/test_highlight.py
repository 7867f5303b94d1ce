"""Shaded texts."""

import io
import os
import re
import sys

import pytest

from keras_attention.explain.highlight import shade, to_html, to_plain, to_terminal


def test_terminal_text_without_colours_is_the_text():
    text = "Not bad <at> all."
    shaded = to_terminal(text, [(0, 3), (4, 7)], [0.25, -0.5])
    assert re.sub("\x1b\\[[0-9;]*m", "", shaded) == text
    full_red, half_green = "48;2;240;130;120", "48;2;188;228;188"
    assert f"{full_red}m\x1b[38;2;0;0;0mbad" in shaded
    assert f"{half_green}m\x1b[38;2;0;0;0mNot" in shaded


def test_nothing_to_shade():
    assert to_terminal("", [], []) == ""
    assert to_terminal("ab", [], []) == "ab"
    assert "a" in to_terminal("a", [(0, 1)], [0.0])


def test_html_escapes_what_users_wrote():
    page = to_html("<T>", [("<h>", "<script>x</script>", [(8, 9)], [1.0])])
    assert "<script>" not in page and "&lt;T&gt;" in page and "&lt;h&gt;" in page
    assert re.search(r'&lt;script&gt;<mark style="background:#78c878" title="1">x</mark>', page)


def test_sentences_lie_beneath_their_words():
    text = "Old. New one."
    sentences = ([(0, 4), (5, 13)], [0.25, 0.75])
    shaded = to_terminal(text, [(0, 3), (5, 8)], [0.1, 0.2], sentences)
    assert re.sub("\x1b\\[[0-9;]*m", "", shaded) == text
    blocks = re.findall("\x1b\\[48;2;([0-9;]*)m\x1b\\[38;2;0;0;0m([^\x1b]*)", shaded)
    assert [part for _, part in blocks] == ["Old", ".", "New", " one."]
    colours = {part: tuple(map(int, colour.split(";"))) for colour, part in blocks}
    assert colours[" one."] == (150, 195, 250)
    assert colours["."] == (220, 235, 253)  # a third of the way from white
    assert colours["New"] == (120, 200, 120)
    page = to_html("T", [("h", text, [(0, 3)], [1.0], sentences)])
    assert 'title="1, sentence 0.25">Old</mark>' in page
    assert '<mark style="background:#96c3fa" title="sentence 0.75">New one.</mark>' in page


def test_empty_spans_are_no_parts():
    assert re.sub("\x1b\\[[0-9;]*m", "", to_terminal("ab", [(1, 1), (1, 2)], [0.5, 1.0])) == "ab"


def test_plain_text_marks_what_counts():
    text = "Not bad at all. Dull."
    spans, weights = [(0, 3), (4, 7), (8, 10), (16, 20)], [0.5, -0.1, 0.0999, 0.0]
    assert to_plain(text, spans, weights) == "Not(0.50) bad(-0.10) at all. Dull."
    sentences = [(0, 15), (16, 21)], [0.75, 0.25]
    assert to_plain(text, spans, weights, sentences) == (
        "[0.75] Not(0.50) bad(-0.10) at all. [0.25] Dull."
    )
    sentences = [(0, 15), (16, 21)], [0.9, 0.1]
    assert to_plain(text, [], [], sentences) == "[0.90] Not bad at all. Dull."


def test_plain_text_of_small_weights_and_of_none():
    assert to_plain("ab c", [(0, 2), (3, 4)], [0.0034, 0.00091]) == "ab(0.0034) c(0.00091)"
    assert to_plain("ab", [(0, 2)], [1.0]) == "ab(1.00)"
    assert to_plain("ab", [(0, 2)], [0.0]) == "ab"
    assert to_plain("", [], []) == ""
    assert to_plain("ab", [(1, 1), (1, 2)], [0.5, 1.0]) == "ab(1.00)"


def test_a_sentence_right_after_a_word():
    sentences = [(0, 2), (2, 4)], [0.5, 0.5]
    assert to_plain("abcd", [(0, 2)], [1.0], sentences) == "[0.50] ab(1.00)[0.50] cd"


@pytest.fixture
def terminal():
    """A pseudo terminal as a stream of text."""
    pty = pytest.importorskip("pty")  # Windows has none
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        yield stream
    os.close(master)


@pytest.mark.parametrize(
    ("environment", "in_terminal", "in_file"),
    [
        ({"TERM": "xterm-256color"}, True, False),
        ({}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
    ids=str,
)
def test_colours_go_to_terminals_alone(monkeypatch, terminal, environment, in_terminal, in_file):
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    arguments = "Not bad.", [(0, 3), (4, 7)], [0.6, 0.4], ([(0, 8)], [1.0])
    for stream, has_colours in ((terminal, in_terminal), (io.StringIO(), in_file)):
        expected = (to_terminal if has_colours else to_plain)(*arguments)
        assert shade(*arguments, stream=stream) == expected
        assert ("\x1b" in expected) == has_colours
        monkeypatch.setattr(sys, "stdout", stream)
        assert shade(*arguments) == expected
