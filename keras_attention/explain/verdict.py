"""Whether maps can be believed: the verdict on the figures of attention and of its rivals."""

ATTENTION, RANDOM, UNIFORM = "attention", "random", "uniform"
SMALL = 0.01  # of the mean probability: a smaller fall changes no answer
_LEAST = 10  # examples for a verdict
_CLOSE = 0.5  # share of the way from random weights to the best other explanation


def error(x):
    """The standard error of a mean; of a single number it is not known."""
    return float(x.std(ddof=1) / len(x) ** 0.5) if len(x) > 1 else float("inf")


def judged(aopc, probability, unit):
    """Verdict, sentence, and the mean difference from random weights with its standard error.

    Args:
        aopc: Dict, name of a method to its falls of the probability, `(B,)`.
        probability: Float, the mean probability of the predicted class.
        unit: String, what a part of the input is.
    """
    differences = {name: x - aopc[RANDOM] for name, x in aopc.items()}
    means = {name: float(x.mean()) for name, x in differences.items()}
    # Student's t for few examples, nearly.
    spread = 1.96 + 3.0 / len(aopc[ATTENTION])
    margins = {name: spread * error(x) for name, x in differences.items()}
    least = SMALL * probability
    is_above = {name: x > margins[name] and x >= least for name, x in means.items()}
    rivals = [name for name in aopc if name not in (ATTENTION, RANDOM, UNIFORM)]
    best = max(rivals, key=means.get)
    own, of_random, of_best = (short(aopc[name].mean()) for name in (ATTENTION, RANDOM, best))
    beside = (
        f"when the {unit}s with the largest weights are removed, the probability of the predicted "
        f"class, {short(probability)}, falls by {own} on average; it falls by {of_random} for "
        f"random {unit}s, and by {of_best} for those that {best} chooses."
    )
    if len(aopc[ATTENTION]) < _LEAST:
        count = len(aopc[ATTENTION])
        verdict = "unclear"
        sentence = f"Too few examples for a verdict: {count}, where {_LEAST} are needed."
    elif not is_above[ATTENTION] and not is_above[best]:
        verdict = "unclear"
        sentence = (
            f"The maps cannot be judged: no way to choose {unit}s, by attention or otherwise, "
            f"changes the answer more than random {unit}s do."
        )
    elif is_above[ATTENTION]:
        if means[ATTENTION] >= _CLOSE * means[best]:
            verdict, sentence = "yes", f"The maps can be believed: {beside}"
            if not is_above[best]:
                sentence += f" So {best} is no better than chance here, and a weak rival."
        else:
            verdict, sentence = "partly", f"The maps can be believed in part: {beside}"
    elif means[ATTENTION] + margins[ATTENTION] < _CLOSE * means[best]:
        verdict, sentence = "no", f"The maps cannot be believed: {beside}"
    else:
        verdict = "unclear"
        sentence = f"Too few examples for a verdict: they differ too much. Here, {beside}"
    return verdict, sentence, (means[ATTENTION], error(differences[ATTENTION]))


def short(number):
    """The number with two decimals, or with two significant digits if it is small."""
    return f"{number:.2f}" if abs(number) >= 0.1 else f"{number:.2g}"
