"""Images with boxes: what is read, how it is split, and one clear line for everything wrong."""

import gzip
import json

import numpy as np
import pytest

from recipes.data import boxes
from recipes.kit.errors import UserError
from tests.recipes.data.files import move_into_zip
from tests.recipes.data.test_captions import picture

Image = pytest.importorskip("PIL.Image")
HEADER = "split,image,label,xmin,ymin,xmax,ymax"
ROWS = [
    "train,a.png,cat,1,2,5,6",
    "train,a.png,dog,0,0,20,10",
    "train,b.png,cat,3,1,9,9.5",
    "train,e.png,,,,,",
    "dev,c.png,dog,2,2,4,4",
    "test,d.png,cat,10,0,20,8",
    "extra,e.png,cat,1,1,2,2",
]


def write(folder, rows=ROWS[:-1], header=HEADER, name="boxes.csv"):
    (folder / name).write_text("\n".join([header, *rows]) + "\n")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    (tmp_path / "images").mkdir()
    for name in "abcde":
        (tmp_path / "images" / f"{name}.png").write_bytes(picture("red", (20, 10)))
    return tmp_path


def fails(*args, **kwargs):
    with pytest.raises(UserError) as error:
        boxes.load(*args, seed=0, **kwargs)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_one_table(folder):
    data = boxes.load(folder, seed=0)
    assert data.train.names == ["a.png", "b.png", "e.png"]
    assert data.train.boxes[0] == [("cat", 1, 2, 5, 6), ("dog", 0, 0, 20, 10)]
    assert data.train.boxes[2] == []  # an image without boxes
    assert data.validation.names == ["c.png"] and data.test.names == ["d.png"]
    assert data.labels == ["cat", "dog"]
    assert "3 / 1 / 1 images" in str(data) and "3 boxes to train with: cat 2, dog 1" in str(data)
    sides, kinds = data.train.truths(data.labels)[0]
    assert sides.tolist() == [[1, 2, 5, 6], [0, 0, 20, 10]] and kinds.tolist() == [0, 1]
    assert data.train.truths(data.labels)[2][0].shape == (0, 4)
    assert next(data.train.images()).shape == (10, 20, 3)


def test_tables_of_splits_zip_gzip_and_a_cut(folder):
    before = boxes.load(folder, seed=0)
    (folder / "boxes.csv").unlink()
    names = HEADER.split(",")[1:]
    for part in ("train", "test"):
        rows = [row.split(",")[1:] for row in ROWS if row.startswith(part)]
        with gzip.open(folder / f"{part}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    move_into_zip(folder / "images", folder / "images.zip")
    data = boxes.load(folder, seed=0)
    assert sorted(data.train.names + data.validation.names) == before.train.names
    assert data.test.boxes == before.test.boxes
    assert "were cut from the training images" in str(data)


def coco(folder, name, images, annotations):
    content = {
        "images": [{"id": 7 + n, "file_name": image} for n, image in enumerate(images)],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": annotations,
    }
    (folder / name).write_text(json.dumps(content))


def one(image, kind, *bbox, **other):
    return {"image_id": image, "category_id": kind, "bbox": list(bbox), **other}


def test_cocos_json(folder):
    (folder / "boxes.csv").unlink()
    rows = [one(7, 1, 1, 2, 4, 4), one(7, 3, 0, 0, 20, 10), one(8, 1, 0, 0, 9, 9, iscrowd=1)]
    rows.append(one(9, 3, 2, 2, 5, 5))
    coco(folder, "instances_train2017.json", ["a.png", "b.png", "e.png"], rows)
    coco(folder, "instances_val2017.json", ["d.png"], [one(7, 1, 10.5, 0, 9, 8)])
    data = boxes.load(folder, seed=0)
    assert data.test.boxes == [[("cat", 10.5, 0, 19.5, 8)]]
    found = dict(
        zip(
            data.train.names + data.validation.names,
            data.train.boxes + data.validation.boxes,
            strict=True,
        )
    )
    assert found["a.png"] == [("cat", 1, 2, 5, 6), ("dog", 0, 0, 20, 10)] and not found["b.png"]
    assert "1 boxes around crowds" in str(data) and "validation file is the test" in str(data)
    coco(folder, "instances_val2017.json", ["d.png"], [one(7, 9, 1, 1, 2, 2)])
    assert "val2017.json, annotation 1: expected an image_id and a category_id" in fails(folder)
    coco(folder, "instances_val2017.json", ["d.png"], [one(7, 1, 1, 1, 2)])
    assert "expected a bbox of four numbers" in fails(folder)
    coco(folder, "instances_val2017.json", ["d.png"], [one(7, 1, 15, 1, 9, 2)])
    assert "val2017.json, annotation 1: expected a box within d.png" in fails(folder)
    (folder / "instances_val2017.json").write_text('{"images": []}')
    assert "expected COCO's json (images, categories, annotations): no 'categ" in fails(folder)
    (folder / "instances_val2017.json").unlink()
    assert "Expected test.json" in fails(folder)


def test_boxes_of_no_size_are_dropped_and_told(folder):
    write(folder, [*ROWS[:-1], "train,b.png,dog,5,5,5,9", "test,d.png,dog,5,6,9,5"])
    data = boxes.load(folder, seed=0)
    assert data.train.boxes[1] == [("cat", 3, 1, 9, 9.5)]
    assert "dropped 2 boxes of no width or height, in b.png, d.png" in str(data)


def test_a_box_beyond_its_picture_has_no_size(folder):
    write(folder, [*ROWS[:-1], "train,b.png,dog,20,0,21,9"])
    data = boxes.load(folder, seed=0)
    assert data.train.boxes[1] == [("cat", 3, 1, 9, 9.5)]
    assert "dropped 1 boxes of no width or height, in b.png" in str(data)


def test_copies_of_a_box_are_dropped_and_told(folder):
    write(folder, [*ROWS[:-1], ROWS[0], ROWS[0].replace("cat", "dog")])
    data = boxes.load(folder, seed=0)
    assert data.train.boxes[0] == [("cat", 1, 2, 5, 6), ("dog", 0, 0, 20, 10), ("dog", 1, 2, 5, 6)]
    assert "dropped 1 boxes that are there twice, in a.png" in str(data)


def test_labels_that_are_written_in_two_ways_are_told(folder):
    write(folder, [*ROWS[:-1], "train,b.png,Cat,1,1,9,9"])
    assert "'Cat' and 'cat' are two labels" in str(boxes.load(folder, seed=0))


def test_a_table_as_a_spreadsheet_writes_it(folder):
    rows = [row + ",x" for row in ROWS[:-1]]
    table = "\r\n".join(["\ufeff" + HEADER + ",note", *rows]).replace("9.5", "9.0")
    (folder / "boxes.csv").write_bytes(table.encode())
    assert boxes.load(folder, seed=0).train.boxes[1] == [("cat", 3, 1, 9, 9)]
    (folder / "boxes.csv").write_text(table[1:].replace(",", ";"))
    assert "boxes.csv:1: expected a column named 'split'" in fails(folder)


def test_validation_is_cut_so_that_it_has_boxes(folder):
    names = HEADER.split(",")[1:]
    (folder / "boxes.csv").unlink()
    for number in range(20):
        (folder / "images" / f"{number}.png").write_bytes(picture("red", (20, 10)))
    rows = [f"{number}.png,cat,1,1,5,5" for number in range(2)]
    rows += [f"{number}.png,,,,," for number in range(2, 20)]
    write(folder, rows, ",".join(names), "train.csv")
    write(folder, ["d.png,cat,1,1,5,5"], ",".join(names), "test.csv")
    for seed in range(5):
        split = boxes.load(folder, seed=seed).validation
        assert sum(map(bool, split.boxes)) == 1 and len(split) == 3
    write(folder, rows[1:], ",".join(names), "train.csv")
    message = fails(folder)
    assert "two different images or more with boxes, one of them for validation" in message


def test_a_box_has_the_side_of_the_upright_photo(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side: 20 x 10 pixels in the file, 10 x 20 as it is seen
    Image.new("RGB", (20, 10)).save(folder / "images" / "b.png", exif=exif)
    write(folder, [*ROWS[:-1], "train,b.png,dog,1,12,9,20"])
    data = boxes.load(folder, seed=0)
    assert data.train.boxes[1][1] == ("dog", 1, 12, 9, 20)
    assert list(data.train.images())[1].shape == (20, 10, 3)
    assert len(data.train.take([1]).boxes[0]) == 2


def test_an_image_that_is_not_of_the_size_that_cocos_json_states(folder):
    (folder / "boxes.csv").unlink()
    coco(folder, "train.json", ["a.png", "b.png"], [one(7, 1, 1, 2, 4, 4), one(8, 1, 1, 2, 4, 4)])
    coco(folder, "test.json", ["d.png"], [one(7, 1, 1, 2, 4, 4)])
    boxes.load(folder, seed=0)
    content = json.loads((folder / "test.json").read_text())
    for height, width in ((10, 20), (5, 10), (20, 10)):
        content["images"][0] |= {"height": height, "width": width}
        (folder / "test.json").write_text(json.dumps(content))
        if width == 20:
            boxes.load(folder, seed=0)
        else:
            wanted = f"expected d.png to be {width} pixels wide and {height} high"
            assert wanted in fails(folder)
    content["images"] *= 2
    (folder / "test.json").write_text(json.dumps(content))
    assert "test.json: expected images of different ids" in fails(folder)
    coco(folder, "test.json", ["d.png"], [one([7], 1, 1, 2, 4, 4)])
    assert "test.json, annotation 1: expected an image_id and a category_id" in fails(folder)
    coco(folder, "test.json", [5], [one(7, 1, 1, 2, 4, 4)])
    assert "expected an image that is in images. Received: 5" in fails(folder)


def test_a_box_may_stand_out_by_a_pixel(folder):
    write(folder, [*ROWS[:-1], "train,b.png,dog,-1,-0.5,21,10.5"])
    assert boxes.load(folder, seed=0).train.boxes[1][1] == ("dog", 0, 0, 20, 10)


@pytest.mark.parametrize(
    "row, message",
    [
        ("train,b.png,cat,3,1,22,9", r"boxes.csv:8: expected a box within b.png, which is 20 "),
        ("train,b.png,cat,-2,1,9,9", "boxes.csv:8: expected a box within b.png"),
        ("train,b.png,cat,1,1,9,x", "boxes.csv:8: expected a number as 'ymax'. Received: 'x'"),
        ("train,b.png,cat,1,1,9,nan", "boxes.csv:8: expected a number as 'ymax'. Received: 'nan'"),
        ("train,b.png,cat,1,1,9,", "boxes.csv:8: expected a number as 'ymax'. Received: ''"),
        ("train,b.png, ,1,1,9,9", "boxes.csv:8: expected a label of one line. Received: ' '"),
        ("train,z.png,cat,1,1,9,9", "boxes.csv:8: expected an image that is in images. Rec"),
        ("test,a.png,cat,1,1,9,9", "boxes.csv:8: expected an image to be in one split. Received"),
        ("test,d.png,cow,1,1,9,9", "boxes.csv:8: expected a label that occurs in the training im"),
    ],
)
def test_what_is_wrong_is_one_line(folder, row, message):
    write(folder, [*ROWS[:-1], row])
    assert message in fails(folder)


def test_what_is_missing_is_one_line(folder):
    write(folder, [row for row in ROWS[:-1] if not row.startswith("test")])
    assert "expected rows whose split is 'test'. Received the splits: dev, train" in fails(folder)
    write(folder, [*ROWS[3:4], *ROWS[4:6]])
    assert "expected at least one box in the training images" in fails(folder)
    write(folder, [*ROWS[:5], "test,d.png,,,,,"])
    assert "expected at least one box in the test images" in fails(folder)
    write(folder, [*ROWS[:3], "dev,c.png,,,,,", ROWS[5]])
    assert "expected at least one box in the validation images" in fails(folder)
    (folder / "boxes.csv").unlink()
    assert "Expected a file train.csv" in fails(folder)


def test_other_splits_are_passed_over(folder):
    write(folder, [*ROWS[:3], *ROWS[4:]])
    data = boxes.load(folder, seed=0)
    assert "1 image of the split 'extra' was passed over" in str(data)


def test_fingerprint_changes_with_boxes(folder):
    before = boxes.load(folder, seed=0).fingerprint
    write(folder, [*ROWS[:-2], "test,d.png,cat,10,0,20,9"])
    assert boxes.load(folder, seed=0).fingerprint != before


def test_toy_and_limit():
    data = boxes.load("toy", seed=0, limit=10)
    assert [len(split) for split in data.splits.values()] == [10, 10, 10]
    assert data.labels == ["moon", "ring", "star", "sun"]


# ----------------------------------------------------------------------- TensorFlow Datasets


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Images of our own, stored as TensorFlow Datasets stores those of Pascal VOC."""
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder("voc/2007")
    folder = tmp_path_factory.mktemp("tfds")
    box = tfds.features.BBox(ymin=0.1, xmin=0.2, ymax=0.5, xmax=0.9)
    flags = {"pose": "frontal", "is_truncated": False, "is_difficult": False}

    def row(name, things):
        return {
            "image": np.full((10, 20, 3), 90, "uint8"),
            "image/filename": name,
            "objects": [{"label": label, "bbox": box, **flags} for label in things],
            "labels": sorted(set(things)),
            "labels_no_difficult": sorted(set(things)),
        }

    rows = {
        "train": [("a.jpg", ["cat", "dog"]), ("b.jpg", [])],
        "validation": [("c.jpg", ["dog"])],
        "test": [("d.jpg", ["cat"])],
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="voc",
        config="2007",
        version=str(builder.version),
        features=builder.info.features,
        split_datasets={
            part: [(number, row(*pair)) for number, pair in enumerate(some)]
            for part, some in rows.items()
        },
        data_dir=folder,
        disable_shuffling=True,
    )
    return folder


def test_tfds(data_dir):
    data = boxes.load("tfds:voc/2007", seed=0, data_dir=data_dir)
    assert data.train.names == ["a.jpg", "b.jpg"] and data.labels == ["cat", "dog"]
    assert [box.label for box in data.train.boxes[0]] == ["cat", "dog"]
    np.testing.assert_allclose(data.train.boxes[0][0][1:], [4, 1, 18, 5], rtol=1e-5)
    assert data.train.boxes[1] == [] and len(data.validation) == len(data.test) == 1
    assert abs(next(data.test.images()).astype(int) - 90).max() < 3


def test_tfds_without_boxes(tmp_path):
    assert "It has no objects among image, label" in fails("tfds:mnist", data_dir=tmp_path)
