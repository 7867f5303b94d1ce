"""Images of every kind as uint8 RGB: none of them turns white, and none black, unseen."""

import io

import numpy as np
import pytest

from recipes.data.images import decode

Image = pytest.importorskip("PIL.Image")
RAMP = np.array([[0, 255, 256], [1000, 40_000, 65_535]])
BYTES = [[0, 0, 1], [3, 156, 255]]


def saved(array, form):
    file = io.BytesIO()
    Image.fromarray(array).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form, kind", [("PNG", "uint16"), ("TIFF", "uint16"), ("PPM", "int32")])
def test_of_16_bits_the_higher_8_count(form, kind):
    image = decode(saved(RAMP.astype(kind), form))
    assert image.dtype == "uint8" and (image == np.array(BYTES)[..., None]).all()


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_values_without_a_known_range_are_an_error(kind):
    with pytest.raises(ValueError, match="its values have 32 bits; expected 8 or 16"):
        decode(saved(RAMP.astype(kind), "TIFF"))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (3, 1), (3, 1, 1)])
def test_grey_arrays_with_and_without_a_channel(shape):
    values = np.arange(np.prod(shape), dtype="uint8")
    image = decode(values.reshape(shape))
    assert image.shape == (*shape[:2], 3) and image[..., 0].ravel().tolist() == values.tolist()
    wide = decode(values.reshape(shape).astype("uint16") << 8)
    assert wide.tolist() == image.tolist()
