"""What is told of the machine."""

from recipes.kit import environment


def test_machine():
    found = environment.machine()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gb"] is None or found["memory_gb"] > 0.1
