"""How many random cases each test runs, and how many did."""

import functools

from hypothesis import given, settings

_completed = 0


def cases(share, **arguments):
    """Runs a test with random arguments; `share` of the profile's number of cases are its own.

    The shares of all tests add up to one.
    """

    def decorate(test):
        @functools.wraps(test)
        def counted(*args, **kwargs):
            global _completed
            test(*args, **kwargs)
            _completed += 1

        number = max(1, round(share * settings().max_examples))
        return settings(max_examples=number)(given(**arguments)(counted))

    return decorate


def take_count():
    """The number of cases completed since the last time."""
    global _completed
    number, _completed = _completed, 0
    return number
