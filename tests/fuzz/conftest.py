"""Counts the random cases that ran to their end and tells how many, also from several processes."""

import keras
import pytest

from tests.fuzz.cases import take_count


@pytest.fixture(autouse=True)
def _counted(request):
    take_count()
    yield
    request.node.user_properties.append(("cases", take_count()))


def pytest_terminal_summary(terminalreporter):
    reports = [report for some in terminalreporter.stats.values() for report in some]
    properties = [
        p for r in reports if getattr(r, "when", "") == "teardown" for p in r.user_properties
    ]
    total = sum(number for name, number in properties if name == "cases")
    terminalreporter.write_line(f"{total:,} random cases on {keras.backend.backend()}")
