"""What the toy grammars share."""

import re


def fill(rng, template, slots, **given):
    """The template with each `{slot}` replaced by what is given for it, else by a random choice.

    >>> import random
    >>> fill(random.Random(0), "{who} saw {what}.", {"who": ["We"], "what": ["a cat"]}, what="it")
    'We saw it.'
    """
    return re.sub(
        r"{(\w+)}", lambda slot: given.get(slot[1]) or rng.choice(slots[slot[1]]), template
    )
