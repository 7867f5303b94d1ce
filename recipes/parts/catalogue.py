"""The items that a recommender knows, by number, name and title."""

import dataclasses
import functools
import re

import numpy as np

from recipes.kit.errors import UserError, cannot_load


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Names of items and their titles, perhaps empty; item n is `items[n - 1]`."""

    items: list
    titles: list

    @classmethod
    def load(cls, path):
        """Reads a file with the `lines` of a catalogue.

        Raises:
            UserError: If it cannot be read.
        """
        try:
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            items, titles = map(list, zip(*(line.split("\t") for line in lines), strict=True))
        except (OSError, ValueError) as error:
            raise cannot_load(path, error) from error
        return cls(items, titles)

    @functools.cached_property
    def _numbers(self):
        return {item: number for number, item in enumerate(self.items, start=1)}

    def number(self, name):
        """The number of the item with this name.

        Raises:
            UserError: If there is none.
        """
        if name not in self._numbers:
            raise UserError(f"Expected an item that the model knows. Received: {name!r}")
        return self._numbers[name]

    def line(self, number):
        """The name of an item, a tab, and its title."""
        return f"{' '.join(self.items[number - 1].split())}\t{self.titles[number - 1]}"

    def lines(self):
        """The line of each item."""
        return [self.line(number) for number in range(1, len(self.items) + 1)]

    def name(self, number):
        """The title of an item, or its name where there is none."""
        return self.titles[number - 1] or self.items[number - 1]

    def find(self, name):
        """The number of the item with this name or title, or with the only title that holds it.

        A title need not have the year that stands in brackets at its end.

        Raises:
            UserError: If there is none, or more than one.
        """
        if name in self._numbers:
            return self._numbers[name]
        wanted = name.casefold()
        known = [title.casefold() for title in self.titles]
        for is_match in (
            lambda title: title == wanted,
            lambda title: re.sub(r"\s*\(\d{4}\)$", "", title) == wanted,
            lambda title: wanted in title,
        ):
            if numbers := [n for n, title in enumerate(known, start=1) if is_match(title)]:
                break
        if not numbers:
            raise UserError(f"Expected an item that the model knows. Received: {name!r}")
        if len(numbers) > 1:
            shown = ", ".join(self.titles[n - 1] for n in numbers[:4])
            shown += ", ..." if len(numbers) > 4 else ""
            raise UserError(f"Expected one item. {name!r} may be: {shown}")
        return numbers[0]

    def heaviest(self, history, weights, most=3):
        """The past items with the largest weights, as text; those of a long history are the last.

        Args:
            history: List of item numbers.
            weights: Float array, one for each of the last items of the history.
            most: Integer, how many items are named.
        """
        seen = history[-len(weights) :]
        best = np.argsort(-weights, kind="stable")[:most]
        return ", ".join(f"{self.name(seen[step])} ({weights[step]:.0%})" for step in best)
