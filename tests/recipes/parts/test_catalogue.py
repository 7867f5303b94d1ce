"""Items by number, name and title."""

import numpy as np
import pytest

from recipes.kit.errors import UserError
from recipes.parts.catalogue import Catalogue


def test_a_title_is_found_without_its_year():
    titles = ["Alien (1979)", "Aliens (1986)", "Up (2009)"]
    catalogue = Catalogue(["a", "b", "c"], titles)
    assert [catalogue.find(name) for name in ("alien", "up", "c")] == [1, 3, 3]


def test_lines_are_read_again(tmp_path):
    catalogue = Catalogue(["a b", "c"], ["Up (2009)", ""])
    path = tmp_path / "items.txt"
    path.write_text("\n".join(catalogue.lines()) + "\n")
    assert Catalogue.load(path) == catalogue
    assert [catalogue.name(number) for number in (1, 2)] == ["Up (2009)", "c"]
    path.write_text("no tab\n")
    with pytest.raises(UserError, match="Cannot load .*items.txt"):
        Catalogue.load(path)


def test_the_heaviest_are_of_the_last_items():
    catalogue = Catalogue(list("abcd"), [""] * 4)
    weights = np.array([0.2, 0.5, 0.3])
    assert catalogue.heaviest([1, 2, 3, 4], weights, most=2) == "c (50%), d (30%)"
