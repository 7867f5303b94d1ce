"""The documents' Python, run as a reader would run it.

Every ```python block of a document runs, from top to bottom in one namespace. The working folder is
an empty one with a finished toy run in `saved_models/sentiment_analysis`, where the recipe puts it.
Code that is only to be read stands in a fence of another name.
"""
# ruff: noqa: RUF001  (the texts are full of letters that look like others)

import ast
import io
import json
import random
import shutil
import sys
import types
import unicodedata
import zipfile

import numpy as np
import pytest

from recipes.text import wordpiece
from tests.backend import needs_tensorflow
from tests.documents import BLOCK, ROOT, run_blocks
from tests.recipes.command import call_recipe

pytestmark = needs_tensorflow

PHONE = ROOT / "docs" / "phone.md"


def beside_a_run(folder, toy_run):
    shutil.copytree(toy_run, folder / "saved_models" / "sentiment_analysis")
    return folder


@pytest.fixture(scope="module")
def phone(toy_run, tmp_path_factory):
    """The names that docs/phone.md defines, and the folder it ran in."""
    folder = beside_a_run(tmp_path_factory.mktemp("phone"), toy_run)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_blocks(PHONE), folder


@pytest.mark.slow
def test_readme_runs(toy_run, tmp_path, monkeypatch):
    readme = ROOT / "README.md"
    if not readme.exists() or not BLOCK.search(readme.read_text(encoding="utf-8")):
        pytest.skip("no README.md with Python")
    monkeypatch.chdir(beside_a_run(tmp_path, toy_run))
    run_blocks(readme)


@pytest.mark.slow
def test_the_page_of_the_run_folder_runs_and_names_its_files(toy_run, tmp_path, monkeypatch):
    page = ROOT / "saved_models" / "README.md"
    monkeypatch.chdir(beside_a_run(tmp_path, toy_run))
    names = run_blocks(page)
    text = page.read_text(encoding="utf-8")
    for name in [*(path.name for path in toy_run.iterdir()), *names["metrics"]]:
        assert f"`{name}`" in text or f"`{name}/`" in text, f"{page} does not tell what {name} is"


@pytest.mark.slow
def test_a_recipe_of_ones_own_trains_and_predicts(tmp_path, monkeypatch, capfd):
    """That of docs/recipes/write_your_own.md, as a module of its own."""
    page = ROOT / "docs" / "recipes" / "write_your_own.md"
    (code,) = BLOCK.findall(page.read_text(encoding="utf-8"))
    story = types.ModuleType("story")
    story.__doc__ = ast.get_docstring(ast.parse(code))
    monkeypatch.setitem(sys.modules, "story", story)
    exec(compile(code, str(page), "exec"), vars(story))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recipes.kit.exports.FORMS", {"tflite": "model.tflite"})  # the others alike
    quick = "--data toy --limit 60 --epochs 1 --parity-texts 2 --vocabulary-size 500".split()
    assert call_recipe(story, "train", *quick) == 0
    assert call_recipe(story, "predict", tmp_path / "saved_models" / story.NAME, "It is bad.") == 0
    assert "bad" in capfd.readouterr().out.splitlines()[-1]


@pytest.mark.slow
def test_phone_runs(phone, toy_run):
    names, folder = phone
    assert names["label"] == "positive", names["text"]
    heavy = {names["text"][start:end] for start, end, weight, _ in names["spans"] if weight > 0.1}
    assert heavy >= {"not", "bad"}
    assert sum(weight for _, _, weight, _ in names["spans"]) == pytest.approx(1, abs=1e-5)
    expected = json.loads((folder / "expected_ids.json").read_text(encoding="utf-8"))
    assert {row["text"]: row["ids"] for row in expected}[""] == []


TRICKY = [
    "It wasn't good — not at all!  Café Münster, 3.50€ (naïve).",
    "Ich heiße STRASSE Straße ẞ. ΣΊΣΥΦΟΣ ﬁne ½ Ⅳ İstanbul ısı Ǆ ŉ ΐ ſt",
    "日本語 テスト 한국어 עברית العربية हिन्दी ไทย 𠀀𬺰x豈丽",
    "zero\u200bwidth soft\u00adhyphen tab\tline\nend\u2028\u2029\x85 a\u0600b \ufeffbom",
    "emoji 😀👍🏽 x\u0301y ａｂｃ！ 𝒜 a<\u0338b !\u0301c",
    ". . .… #hash ##tag [PAD] [UNK] a_b a-b a+b=c~d|e^f`g$h",
    "",
    "   \u00ad ",
    "\u0301\u0302",
    "a" * 100 + " " + "a" * 101,
    "ж" * 50 + " " + "ж" * 51,
    "ก" * 33 + " " + "ก" * 34,
]


def _random_texts(count):
    """Texts of any characters that this Python knows, with spaces and letters among them."""
    rng = random.Random(0)
    known = [
        chr(number)
        for number in range(0x20, 0x30000)
        if unicodedata.category(chr(number)) not in ("Cn", "Co", "Cs")
    ]
    for _ in range(count):
        size = rng.randint(1, 40)
        yield "".join(rng.choice(known if rng.random() < 0.6 else " ab.") for _ in range(size))


@pytest.mark.slow
def test_phone_tokenizer_gives_the_fast_ones_ids(phone, monkeypatch):
    names, _ = phone
    # The toy run's vocabulary knows few of these characters: each gets a piece of its own.
    texts = TRICKY + list(_random_texts(500))
    letters = sorted({c for text in texts for c in names["normalize"](text) if not c.isspace()})
    vocabulary = ["[PAD]", "[UNK]", *letters, *(f"##{letter}" for letter in letters)]
    monkeypatch.setitem(names, "vocabulary", {p: i for i, p in enumerate(vocabulary)})
    fast = wordpiece.tokenize(wordpiece.fast_tokenizer(vocabulary), texts)
    for text, ids in zip(texts, fast, strict=True):
        assert names["encode"](text) == ids.tolist(), ascii(text)
        words = names["encode_words"](text)
        assert [number for word in words for number in word[2]] == ids.tolist(), ascii(text)
        ends = [0] + [place for start, end, _ in words for place in (start, end)]
        assert ends == sorted(ends) and ends[-1] <= len(text)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model.tflite", "model_float16.tflite", "model_int8.tflite"])
def test_both_signatures_agree(phone, toy_run, file):
    from ai_edge_litert.interpreter import Interpreter, InterpreterWithCustomOps

    operators = sys.modules["tensorflow_text"].tflite_registrar.SELECT_TFTEXT_OPS
    path = str(toy_run / file)
    plain = Interpreter(model_path=path)
    plain.allocate_tensors()  # as Android's and iOS' interpreters do first: `ids` must be first
    by_ids = plain.get_signature_runner("ids")
    by_text = InterpreterWithCustomOps(
        model_path=path, custom_op_registerers=operators
    ).get_signature_runner("text")
    names, _ = phone
    for text in [names["text"], "Terrible; I hated it.", "Not bad, not bad at all!", ""]:
        ids = names["encode"](text) or [0]
        ours = by_ids(ids=np.array([ids], np.int32))
        theirs = by_text(text=np.array([text.encode()]))
        assert set(theirs) == {*ours, "label", "pieces"}
        assert ours["ids"].tolist() == theirs["ids"].tolist() == [ids]
        for name in ("probability", "weights", "evidence"):
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)
        assert theirs["label"][0].decode() == names["labels"][ours["probability"][0].argmax()]
        # A third, an n-gram's share of each of its pieces, is not exact in 16 bits.
        assert ours["weights"].sum() == pytest.approx(1 if text else 0, abs=1e-3)


@pytest.mark.slow
def test_attached_words_lie_where_the_kotlin_looks(toy_run):
    """From the last 22 bytes to the directory, from there to the archive, without a zip reader."""
    content = (toy_run / "model.tflite").read_bytes()

    def number(place):
        return int.from_bytes(content[place : place + 4], "little")

    start = number(number(len(content) - 22 + 16) + 42)
    with zipfile.ZipFile(io.BytesIO(content[start:])) as archive:
        assert archive.namelist() == ["vocabulary.txt", "labels.txt"]
        for name in archive.namelist():
            assert archive.read(name) + b"\n" == (toy_run / name).read_bytes()
            # `ZipInputStream` reads on without the directory: sizes must stand before the content.
            assert not archive.getinfo(name).flag_bits & 0x08
