"""Words that must not occur, and the field's own words for them. `make lint` runs this too.

Nothing here needs Keras.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = "keras_attention", "keras_attention_command", "recipes", "benchmarks", "tests", "docs"
ENDINGS = ".py", ".md", ".ipynb"

# What not to write (a regular expression; a space is any white space): what to write.
INSTEAD = {
    # sentences that only their author understands
    r"how many on they are computed": "size in bytes above which they are computed",
    r"(may|can) go by other ways": "may be computed in blocks or by a fused kernel",
    r"by their numbers alone": "a mask defined by positions",
    r"(only the run|the run alone) knows": "dynamic, or unknown until run time",
    r"so many first steps": "the first `num_global` steps",
    r"drawn by (its|their) weight": "sampled in training, else the argmax",
    r"is not noticed": "is not checked",
    r"still wavers": "the effective number of equally likely tokens",
    r"a step keeps": "EMA momentum",
    r"(texts|examples|captions|rows|tokens|pairs|users) a (training )?step": "per step",
    r"(milli)?seconds a (training )?step": "per step",
    r"share of the training that (rises|warms)": "warm-up fraction",
    r"(default|none): none: \d": "default: 4000, or 1000 below 10,000 examples",
    # another word than the field's
    r"(the )?future (is|are|steps?|stays?) hidden|hid(es?|den|ing) the future": "causal",
    r"\b(dropout|dropping) share|share of (weights|units) (that is )?dropped": "dropout rate",
    r"\bgo(es)? one by one\b": "head by head, example by example",
    r"\bcontent attention\b": "content-based attention",
    r"\blocation attention\b": "location-based attention",
    r"\bturn(s|ed|ing)? (the )?(keys?|matri(x|ces)|axes)\b": "transpose",
    r"\breads? (its |the )?places?\b|reads_places|takes_start": "position",
    r"(?<!in\s)\bplaces? of (the|a|each) (query|queries|keys?|steps?)\b": "position",
    # names that were replaced
    r"\bwhen_large\b": "if_large",
    r"\b_go_apart\b": "split_by_head",
    r"\bof_pairs\(": "key_and_query_masks",
    r"\bwith_shared\b": "grouped_matmul",
    r"\brise_and_fall\b": "warmup_cosine",
    r"\bseeing_average\b": "with_averaged_weights",
    r"\bclass Placed\b|\bPlaced\(": "Gathered",
    r"\busual\(": "size_dependent",
    r"\bsurprise\(": "negative_log_likelihood",
}


def wrong_words(text):
    """Pairs of a line number and what stands there against what should."""
    for pattern, instead in INSTEAD.items():
        for found in re.finditer(pattern.replace(" ", r"[\s#]+"), text, re.IGNORECASE):
            line = text.count("\n", 0, found.start()) + 1
            yield line, f"{' '.join(found[0].split())!r}: write {instead!r}"


def texts():
    """All texts of ours but this file and what is told of the past in the change log."""
    yield from (ROOT / name for name in ("README.md", "Makefile", "setup.cfg", "pyproject.toml"))
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in ENDINGS and path != Path(__file__) and "_build" not in path.parts:
                yield path


def test_the_words_are_the_fields():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in texts()
        for line, what in wrong_words(path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "A mask in which the\n    # future is hidden.",
        "Shapes of which the run alone knows a part.",
        "Reads 64 texts a training step.",
        "x = when_large(size)",
        "It turns the keys.",
    ],
)
def test_a_wrong_text_is_found(text):
    assert list(wrong_words(f"First line.\n{text}"))


@pytest.mark.parametrize(
    "text", ["Content-based attention.", "`ContentAttention`", "as usual (see below)", "per step"]
)
def test_a_right_text_passes(text):
    assert not list(wrong_words(text))
