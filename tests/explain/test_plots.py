"""Pictures."""

import io
import sys

import numpy as np
import pytest

import keras_attention as ka

pytest.importorskip("matplotlib")


def _pixels(figure):
    """The figure as it is drawn; raises what drawing raises."""
    from matplotlib import image

    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    return image.imread(file)


def test_attention_is_a_bar_a_word_from_the_top():
    figure = ka.plot_attention([0.1, 0.7, 0.2, 0.0], ["not", "bad", ".", ""], "positive")
    (axes,) = figure.axes
    bars = axes.patches
    assert [bar.get_width() for bar in bars] == [0.1, 0.7, 0.2]  # no bar for padding
    assert [label.get_text() for label in axes.get_yticklabels()] == ["not", "bad", "."]
    assert axes.yaxis_inverted()
    assert axes.get_title(loc="left") == "positive"
    assert [text.get_text() for text in axes.texts] == ["0.10", "0.70", "0.20"]
    darkest = min(bars, key=lambda bar: sum(bar.get_facecolor()[:3]))
    assert darkest is bars[1]
    assert _pixels(figure).std() > 0


def test_attention_without_words_or_weight_is_drawn():
    for weights, words in (([], []), ([0.0, 0.0], ["a", "b"])):
        assert _pixels(ka.plot_attention(weights, words)).ndim == 3


def test_alignment_has_words_on_both_axes():
    weights = np.random.default_rng(0).dirichlet(np.ones(4), size=3)
    figure = ka.plot_alignment(weights, ["une", "zone", "."], ["an", "area", "here", "."], "pair")
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), weights)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["une", "zone", "."]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["an", "area", "here", "."]
    assert figure.axes[1].get_ylabel() == "weight"
    assert figure.get_suptitle() == "pair"
    assert _pixels(figure).std() > 0


def test_alignment_draws_a_panel_a_head_on_one_scale():
    weights = np.random.default_rng(0).dirichlet(np.ones(4), size=(6, 3))
    figure = ka.plot_alignment(weights, list("abc"), list("defg"))
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_xlabel() for axes in panels] == [f"head {head}" for head in range(1, 7)]
    for axes, head in zip(panels, weights, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), head)
        assert axes.images[0].get_clim() == (0, weights.max())


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_images_stay_bright_where_the_model_looked(dtype, channels):
    image = np.full((24, 40, *channels), 200 if dtype == "uint8" else 200 / 255, dtype)
    weights = np.zeros((2, 3, 5))
    weights[0, 0, 4] = weights[1, 2, 0] = 0.3
    figure = ka.plot_image_attention(image, weights, ["above", "below"], "two words")
    assert [axes.get_title() for axes in figure.axes[:3]] == ["", "above", "below"]
    whole, above, below = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[:3])
    assert whole.shape == above.shape == (24, 40, 3)
    np.testing.assert_allclose(whole, 200 / 255)
    for panel, bright, dark in ((above, (0, -1), (-1, 0)), (below, (-1, 0), (0, -1))):
        np.testing.assert_allclose(panel[bright], 200 / 255, atol=0.02)
        assert panel[dark].max() < 0.4
    assert _pixels(figure).std() > 0


def test_equal_weights_leave_the_image_as_it_is():
    image = np.random.default_rng(0).random((12, 16, 3))
    figure = ka.plot_image_attention(image, np.full((3, 4), 1 / 12))
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), image)


def test_no_weight_leaves_it_dark():
    figure = ka.plot_image_attention(np.ones((12, 16, 3)), np.zeros((3, 4)))
    assert np.asarray(figure.axes[1].images[0].get_array()).max() < 0.4


def test_rejects_words_that_do_not_fit():
    with pytest.raises(ValueError, match=r"weights.shape=\(3,\), 2 words"):
        ka.plot_attention(np.ones(3), ["a", "b"])
    with pytest.raises(ValueError, match=r"Axis 1 .*weights.shape=\(1, 2, 3\), 1 words"):
        ka.plot_alignment(np.ones((2, 3)), ["a"], ["b", "c", "d"])
    with pytest.raises(ValueError, match=r"those of one example.*weights.shape=\(2, 3\)"):
        ka.plot_attention(np.ones((2, 3)), ["a", "b", "c"])


def test_rejects_captions_that_do_not_fit():
    with pytest.raises(ValueError, match=r"weights.shape=\(2, 3, 4\), captions=\['a'\]"):
        ka.plot_image_attention(np.ones((8, 8)), np.ones((2, 3, 4)), ["a"])


def test_rejects_what_is_no_image():
    with pytest.raises(ValueError, match=r"image.shape=\(8, 8, 4\)"):
        ka.plot_image_attention(np.ones((8, 8, 4)), np.ones((3, 4)))


@pytest.mark.parametrize(
    "image",
    [np.full((8, 8), 200.0), np.full((8, 8), -1.0), np.full((8, 8), 1000), np.full((8, 8), np.nan)],
)
def test_rejects_an_image_of_other_numbers(image):
    with pytest.raises(ValueError, match="`image` must hold floats from 0 to 1.*image.dtype="):
        ka.plot_image_attention(image, np.ones((3, 4)))


def test_rejects_weights_of_nothing():
    with pytest.raises(ValueError, match=r"at least one query and one value.*shape=\(2, 0, 3\)"):
        ka.plot_alignment(np.ones((2, 0, 3)), [], list("abc"))
    with pytest.raises(ValueError, match=r"at least one row and one column.*shape=\(2, 0, 3\)"):
        ka.plot_image_attention(np.ones((8, 8)), np.ones((2, 0, 3)))


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # its import fails
    for draw in (
        lambda: ka.plot_attention([0.5, 0.5], ["a", "b"]),
        lambda: ka.plot_alignment([[0.5, 0.5]], ["a"], ["b", "c"]),
        lambda: ka.plot_image_attention(np.ones((8, 8)), np.ones((3, 4))),
    ):
        with pytest.raises(ImportError, match=r'pip install "keras-attention-layers\[plot\]"'):
            draw()


def test_a_notebook_shows_a_figure_without_pyplot():
    figure = ka.plot_attention([0.2, 0.8], ["a", "b"])
    assert figure._repr_png_()[:4] == b"\x89PNG"
