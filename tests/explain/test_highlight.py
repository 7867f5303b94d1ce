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
