"""Whether attention weights explain a model: tests beside random weights and other explanations."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt

from keras_attention import checks
from keras_attention.explain import removal
from keras_attention.explain.faithfulness import FRACTIONS
from keras_attention.explain.of_model import OfModel
from keras_attention.explain.rank_correlation import agreement
from keras_attention.explain.trials import Trials
from keras_attention.explain.verdict import ATTENTION, RANDOM, SMALL, UNIFORM, error, judged, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAVE_ONE_OUT = "leave-one-out"
_TENTHS = tuple(tenth / 10 for tenth in range(11))
_FRACTIONS = np.array(sorted({*FRACTIONS, *_TENTHS}))
_AT_DEYOUNG = np.searchsorted(_FRACTIONS, FRACTIONS)
_AT_TENTHS = np.searchsorted(_FRACTIONS, _TENTHS)
_DRAWS = 3  # of random weights, whose figures are averaged


@dataclasses.dataclass(frozen=True, eq=False)
class ExplanationReport:
    """What `explanation_report` found.

    Attributes:
        verdict: `"yes"`, `"partly"`, `"no"`, or `"unclear"`.
        sentence: The verdict and its reason in plain words.
        figures: Dict from a method (`"attention"`, `"random"`, `"uniform"`, `"leave-one-out"` and
            the rivals) to a dict of its means over the examples: `aopc`, `comprehensiveness`,
            `sufficiency` (both at the fractions of `faithfulness`), `insertion` (the probability of
            the predicted class with the k top parts alone, for the k of `aopc`); and `error`, the
            standard error of `aopc`.
        difference: Mean of AOPC of attention less that of random weights, and its standard error.
        agreement: Dict from a method to a dict from each other to the mean of Spearman's rank
            correlation between what they say of the parts of an example; NaN if there is no example
            of which both order the parts.
        permutation: Dict of the means of `permutation_test`, or `None`.
        curves: Dict from a method to a dict of `"deletion"` and `"insertion"`, arrays
            `(len(fractions),)`: the mean probability of the predicted class.
        fractions: The fractions of parts of the curves, from 0 to 1.
        attributions: Dict from a method, but random and uniform, to an array `(B, U)`: what it says
            of each of the U parts of each example.
        mask: Boolean `(B, U)`, the parts that each example has.
        probabilities: Array `(B, C)`, of the whole inputs.
        unit: What a part is called, such as `"word"`.
        grid: `(H, W)`, rows and columns of the parts of images; else `None`.
    """

    verdict: str
    sentence: str
    figures: dict[str, dict[str, float]]
    difference: tuple[float, float]
    agreement: dict[str, dict[str, float]]
    permutation: dict[str, float] | None
    curves: dict[str, dict[str, np.ndarray]]
    fractions: np.ndarray
    attributions: dict[str, np.ndarray]
    mask: np.ndarray
    probabilities: np.ndarray
    unit: str
    grid: tuple[int, int] | None = None

    @property
    def best_rival(self) -> str:
        """The method with the largest `aopc` that is neither attention, random nor uniform."""
        rivals = [name for name in self.figures if name not in (ATTENTION, RANDOM, UNIFORM)]
        return max(rivals, key=lambda name: self.figures[name]["aopc"])

    def to_dict(self) -> dict[str, Any]:
        """Verdict, sentence and figures as numbers and strings, such as for a JSON file."""
        difference, error = self.difference
        found = {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "unit": self.unit,
            "examples": len(self.mask),
            "figures": _rounded(self.figures),
            "difference": _rounded({"mean": difference, "error": error}),
            "agreement": _rounded(self.agreement),
        }
        if self.permutation is not None:
            found["permutation"] = _rounded(self.permutation)
        return found

    def plot(self) -> "Figure":
        """Deletion and insertion curves of all methods; see `plot_removal_curves`."""
        from keras_attention.explain.plots import plot_removal_curves

        return plot_removal_curves(self.fractions, self.curves, self.unit)

    def to_html(
        self,
        title: str = "Are the attention maps true?",
        examples: Sequence[Any] = (),
        headings: Sequence[str] | None = None,
    ) -> str:
        """The report as one HTML page without scripts and outside resources.

        Args:
            title: String.
            examples: The first examples of the inputs as they are shown: each a list of strings,
                one for each part; or a text and a list of the spans `(start, end)` of its parts; or
                an image, as `plot_image_attention` takes it.
            headings: A string for each of the examples, such as the class that the model predicts;
                by default the number of the class and its probability.

        Returns:
            String: the sentence, the table of tests, the curves, and the examples shaded by
            attention and by the best rival.

        Raises:
            ImportError: If matplotlib is missing, which draws the curves.
            ValueError: If an example has fewer parts than the report knows of, or there are more
                examples than in the report, or not as many headings.
        """
        from keras_attention.explain.report_page import page

        return page(self, title, examples, headings)


def explanation_report(
    predict: Callable[[Any], Any] | keras.Model,
    inputs: Any,
    weights: npt.ArrayLike | str | None = None,
    mask: npt.ArrayLike | None = None,
    *,
    groups: npt.ArrayLike | None = None,
    padding: float = 0,
    remove: Callable[[Any, np.ndarray], Any] | None = None,
    rivals: Mapping[str, npt.ArrayLike] | None = None,
    permutation: Mapping[str, npt.ArrayLike] | None = None,
    output: str | None = None,
    embedding: str | None = None,
    unit: str = "step",
    batch_size: int = 64,
    seed: int = 0,
    verbose: bool = False,
) -> ExplanationReport:
    """Tests whether attention weights are a true explanation of a model's predictions.

    Parts of an input (steps, words of several pieces, sentences, cells of an image) are removed,
    those with the largest weights first, and the model predicts again. p is the probability of the
    class that it predicts for the whole input x, and x without k the input without its k top parts:

        AOPC = mean of p(x) - p(x without k)   over k = 0, 10 %, ... 100 % of the parts

    and likewise for weights that know nothing, random and uniform, and for explanations that need
    no attention: leave-one-out (the fall of p when a part alone is removed) and the `rivals`. The
    verdict compares the AOPC of attention with that of random weights, example by example, and with
    the best rival's:

    - `"yes"`: above random weights, and at least half as far as the best rival;
    - `"partly"`: above them, but less than half as far;
    - `"no"`: not above them, and surely less than half as far as the best rival;
    - `"unclear"`: fewer than 10 examples; or not above them, and neither is the best rival, or
      the examples are too few to tell from half as far.

    Above is a mean difference whose 95 % interval is positive, and which is at least a hundredth
    of the mean p(x).

    Parts of equal weight are removed in random order, but for `"uniform"`, whose weights are all
    equal: there from the start of the input on.

    Every method predicts some 25 times for each example, leave-one-out once for each part. Memory
    is that of `batch_size` examples. Thread-safe if `predict` is.

    Args:
        predict: A built Keras model of one input array, or a function from inputs to probabilities
            `(B, C)`, or `(B,)` or `(B, 1)` of the second of two classes.
        inputs: Ids `(B, S)`, features `(B, S, D)`, images `(B, X, Y, C)`; with `remove` anything
            that can be indexed: a list, an array, or a structure of arrays.
        weights: Array `(B, S)`, of images `(B, H, W)` (the cells of a grid), with `remove` of
            either shape. Of a Keras model also the name of the layer that they are of, as in
            `attention_maps`, or `None` for its only attention layer; heads and queries are
            averaged.
        mask: Boolean `(B, S)`, `True` for steps that are not padding; if `None`, the steps that
            differ from `padding`. With `remove` `(B, U)`.
        groups: Integers `(B, S)`: which part each step belongs to, from 0, such as the word of a
            piece or the sentence of a word; -1 for steps that always stay. Weights are added up.
        padding: Number that the inputs are padded with, at the end.
        remove: Function `(inputs, keep)` from some of the examples and a boolean of the shape of
            their weights to the inputs with these parts alone. By default steps are removed and the
            rest moves together; cells of an image get the image's mean colour.
        rivals: Dict from a name to attributions of the shape of the weights, larger for parts that
            speak for the predicted class. Of a Keras model `gradient_times_input` and
            `integrated_gradients` are added.
        permutation: What `permutation_test` returned, to be part of the report. Of a Keras model
            whose weights are given by name or `None` it is done here, if the layer allows it.
        output: Key of the probabilities, where a Keras model returns a dict.
        embedding: Name of the layer of a Keras model whose output the gradients are of; by default
            its only `Embedding`.
        unit: What a part is called in the report, in the singular.
        batch_size: Positive integer, the most examples in a call of `predict`.
        seed: Integer seed of the random weights.
        verbose: Whether a bar shows the progress.

    Returns:
        `ExplanationReport`. Its `sentence` says the verdict, `to_html` writes a page, `plot` draws
        the curves, and `to_dict` has the figures.

    Raises:
        ValueError: If the shapes do not fit, if a weight of a part is NaN or infinite, if `predict`
            does not return probabilities, or if a model has no attention layer of such weights.

    Example:
        >>> import numpy as np
        >>> def predict(ids):  # looks for a 7
        ...     has_seven = np.any(ids == 7, axis=1)
        ...     return np.stack([1 - 0.9 * has_seven, 0.9 * has_seven], axis=1)
        >>> ids = np.random.default_rng(0).permuted(np.tile(np.arange(3, 11), (20, 1)), axis=1)
        >>> report = ka.explanation_report(predict, ids, weights=ids == 7, unit="word")
        >>> report.verdict
        'yes'
        >>> ka.explanation_report(predict, ids, weights=ids == 4).verdict
        'no'

    Reference:
        Samek et al., 2017, eq. 12 (AOPC), https://arxiv.org/abs/1509.06321
        DeYoung et al., 2020, eq. 1 and 2, https://arxiv.org/abs/1911.03429
        Jain & Wallace, 2019, https://arxiv.org/abs/1902.10186, compare with leave-one-out and
        gradients by rank correlation. The verdict and its bounds are this library's own.
    """
    if isinstance(predict, keras.Model):
        of_model = OfModel(predict, inputs, output, batch_size)
        if weights is None or isinstance(weights, str):
            layer, weights = of_model.weights(weights)
            permutation = permutation or of_model.permutation(layer, seed)
        rivals = {**of_model.gradients(embedding), **(rivals or {})}
        predict = of_model.probabilities
    elif weights is None or isinstance(weights, str):
        raise ValueError(
            "`weights` must be an array where `predict` is a function. Received: "
            f"weights={weights!r}"
        )
    weights = np.asarray(weights)
    parts = removal.parts_of(
        inputs, weights.shape, mask=mask, padding=padding, groups=groups, remove=remove
    )
    taken = {ATTENTION, RANDOM, UNIFORM, LEAVE_ONE_OUT} & set(rivals or {})
    if taken:
        raise ValueError(
            "`rivals` must have other names than the methods that are always there. Received: "
            f"{sorted(taken)}"
        )
    given = {ATTENTION: weights, **(rivals or {})}
    given = {name: _totals(name, np.asarray(x), parts) for name, x in given.items()}
    checks.positive_integer("batch_size", batch_size)
    if not len(parts):
        raise ValueError("`inputs` must have at least one example. Received: none")
    trials = Trials(
        predict,
        parts,
        batch_size,
        draws=(len(given) + 2 + _DRAWS) * len(_FRACTIONS),  # leave-one-out and uniform weights, too
        verbose=verbose,
    )
    return _measured(trials, given, permutation, parts, unit, seed)


def _measured(trials, given, permutation, parts, unit, seed):
    """The report on what each of the methods `given` says of the parts."""
    attributions = {ATTENTION: given.pop(ATTENTION), LEAVE_ONE_OUT: trials.leave_one_out(), **given}
    rng = np.random.default_rng(seed)
    draws = {
        RANDOM: [rng.random(parts.mask.shape) for _ in range(_DRAWS)],
        UNIFORM: [np.ones(parts.mask.shape)],
        **{name: [_in_random_order(x, rng)] for name, x in attributions.items()},
    }
    order = [ATTENTION, RANDOM, UNIFORM, LEAVE_ONE_OUT, *given]
    drops = {
        name: np.mean([trials.drops(draw, _FRACTIONS) for draw in draws[name]], axis=0)
        for name in order
    }  # each (B, 2, F)
    aopc = {name: x[:, 0, _AT_TENTHS].mean(axis=-1) for name, x in drops.items()}  # (B,) each
    verdict, sentence, difference = judged(aopc, trials.chosen.mean(), unit)
    if permutation is not None:
        permutation = {name: float(np.mean(x)) for name, x in permutation.items()}
        if permutation["distance"] < SMALL:
            moved = short(permutation["distance"])
            sentence += f" The model hardly needs its weights: shuffled, they move it by {moved}."
    return ExplanationReport(
        verdict=verdict,
        sentence=sentence,
        figures={name: _figures(aopc[name], drops[name], trials.chosen) for name in order},
        difference=difference,
        agreement=agreement(attributions, parts.mask),
        permutation=permutation,
        curves={
            name: dict(
                zip(("deletion", "insertion"), trials.chosen.mean() - x.mean(0), strict=True)
            )
            for name, x in drops.items()
        },
        fractions=_FRACTIONS,
        attributions=attributions,
        mask=parts.mask,
        probabilities=trials.whole,
        unit=unit,
        grid=parts.shape[1:] if len(parts.shape) == 3 else None,
    )


def _totals(name, x, parts):
    """The sums over the parts, `(B, U)`, of what a method says."""
    is_of_pixels = isinstance(parts, removal.Cells) and x.shape == parts.inputs.shape[:3]
    if x.shape != tuple(parts.shape) and not is_of_pixels:
        raise ValueError(
            f"`rivals` must have the shape of `weights`. Received: {name!r} with shape {x.shape}, "
            f"weights.shape={parts.shape}"
        )
    totals = parts.totals(x)
    if not np.isfinite(totals[parts.mask]).all():
        what = "`weights`" if name == ATTENTION else f"`rivals[{name!r}]`"
        raise ValueError(
            f"{what} must be finite numbers where `mask` is True. Received: NaN or infinity"
        )
    return totals


def _in_random_order(x, rng):
    """Numbers in the order of `x`, equal ones in random order.

    In the order of the input, a sparse map would seem to find what stands at its start.
    """
    order = np.lexsort((rng.random(x.shape), x), axis=-1)
    return np.argsort(order, axis=-1)


def _figures(aopc, drops, chosen):
    deletion, insertion = drops[:, 0], drops[:, 1]  # (B, F)
    return {
        "aopc": float(aopc.mean()),
        "error": error(aopc),
        "comprehensiveness": float(deletion[:, _AT_DEYOUNG].mean()),
        "sufficiency": float(insertion[:, _AT_DEYOUNG].mean()),
        "insertion": float(chosen.mean() - insertion[:, _AT_TENTHS].mean()),
    }


def _rounded(figures):
    """The figures with six decimals, `None` for those that are not finite."""
    if isinstance(figures, dict):
        return {name: _rounded(value) for name, value in figures.items()}
    return round(float(figures), 6) if np.isfinite(figures) else None
