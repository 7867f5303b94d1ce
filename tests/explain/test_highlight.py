"""Shaded texts."""

import re

from keras_attention.explain.highlight import to_html, to_terminal


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
