"""Drawn skies: what is known of them is what is drawn."""

import numpy as np

from recipes.data.toy import skies


def test_the_sign_alone_tells_what_a_disc_is():
    rows = skies.generate(60, seed=5)
    assert {sky.kind for sky in rows} == {"sun", "moon", "star"}
    for sky in rows:
        assert {box[0] for box in sky.boxes} <= {sky.kind, "ring"}
        image, (x, y) = sky.image.astype(int), sky.sign
        if sky.kind == "star":
            assert abs(image[y, x] - [70, 110, 160]).max() < 40
        else:
            assert image[y, x].tolist() == [{"sun": 245, "moon": 10}[sky.kind]] * 3
            assert image[y - 6, x - 6].tolist() == [225, 40, 40]
        for label, left, top, right, bottom in sky.boxes:
            assert 0 <= left < right <= skies.WIDTH and 0 <= top < bottom <= skies.HEIGHT
            middle = (left + right) / 2, (top + bottom) / 2
            assert np.hypot(middle[0] - x, middle[1] - y) >= 26
            if label != "ring":  # all alike
                found = image[int(middle[1]), int(middle[0])]
                assert abs(found - [60, 190, 120]).max() < 40


def test_splits_are_always_the_same_and_share_no_sky():
    first, again = skies.splits(), skies.splits()
    assert [len(rows) for rows in first] == [400, 60, 100]
    assert all((a.image == b.image).all() for a, b in zip(first[2][:5], again[2][:5], strict=True))
    images = [sky.image.tobytes() for rows in first for sky in rows]
    assert len(set(images)) == len(images)
