"""Average precision of boxes: by hand, and as pycocotools has it."""

import contextlib
import io

import numpy as np
import pytest

from recipes.parts import average_precision

LABELS = ["cat", "dog", "cow"]


def drawn(seed, images=12):
    """True boxes and, near them or anywhere, found ones, some with equal scores."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(images):
        count = rng.integers(0, 8)
        low = rng.uniform(0, 60, (count, 2))
        true = np.concatenate([low, low + rng.uniform(8, 40, (count, 2))], axis=1)
        kinds = rng.integers(0, 2, count)  # no cow
        near = np.repeat(true, 2, axis=0) + rng.uniform(-3.9, 3.9, (2 * count, 4))
        other = np.add(rng.uniform(0, 40, (5, 4)), [0, 0, 45, 45])
        boxes = np.concatenate([near, other])
        scores = rng.integers(1, 40, len(boxes)) / 40
        classes = np.concatenate([np.repeat(kinds, 2), rng.integers(0, 3, 5)])
        truths.append((true, kinds))
        found.append((boxes, scores, classes))
    return truths, found


def by_pycocotools(truths, found):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")

    def rows(boxes, image, kinds):
        for box, kind in zip(boxes, kinds, strict=True):
            left, top, right, bottom = map(float, box)
            size = right - left, bottom - top
            yield {
                "image_id": image, "category_id": int(kind) + 1, "bbox": [left, top, *size],
                "area": size[0] * size[1], "iscrowd": 0,
            }  # fmt: skip

    true = coco.COCO()
    annotations = [
        row for image, pair in enumerate(truths) for row in rows(pair[0], image + 1, pair[1])
    ]
    true.dataset = {
        "info": {},
        "images": [{"id": image + 1} for image in range(len(truths))],
        "categories": [{"id": number + 1, "name": name} for number, name in enumerate(LABELS)],
        "annotations": [{**row, "id": number + 1} for number, row in enumerate(annotations)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        true.createIndex()
        answers = [
            {**row, "score": float(score)}
            for image, (boxes, scores, kinds) in enumerate(found)
            for row, score in zip(rows(boxes, image + 1, kinds), scores, strict=True)
        ]
        run = evaluation.COCOeval(true, true.loadRes(answers), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {"mAP50": run.stats[1], "mAP": run.stats[0]}


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_pycocotools_computes(seed):
    truths, found = drawn(seed)
    scores, of_class = average_precision.measure(truths, found, LABELS)
    expected = by_pycocotools(truths, found)
    assert 0.1 < expected["mAP"] < expected["mAP50"] < 0.95
    assert scores == pytest.approx(expected, abs=1e-9)
    assert list(of_class) == ["cat", "dog"]  # a class without a true box has no figure


def test_more_than_a_hundred_boxes_of_a_class_in_an_image_do_not_count():
    true = np.array([[0.0, 0, 10, 10]]), np.array([0])
    boxes = np.tile([[50.0, 50, 60, 60]], (101, 1))
    boxes[100] = true[0]
    found = boxes, np.linspace(1, 0.5, 101), np.zeros(101, int)
    assert average_precision.measure([true], [found], LABELS)[0]["mAP50"] == 0
    found = boxes[1:], np.linspace(1, 0.5, 100), np.zeros(100, int)
    assert average_precision.measure([true], [found], LABELS)[0]["mAP50"] == pytest.approx(0.01)


def test_nothing_found_is_zero():
    true = np.array([[0.0, 0, 10, 10]]), np.array([1])
    nothing = np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)
    scores, of_class = average_precision.measure([true], [nothing], LABELS)
    assert scores == {"mAP50": 0, "mAP": 0} and list(of_class) == ["dog"]
