"""The documents' Python that needs no trained recipe."""

import pytest

from tests.documents import ROOT, run_blocks


@pytest.mark.slow
def test_abcnn_beats_the_same_network_without_attention():
    accuracy = run_blocks(ROOT / "docs" / "abcnn.md")["accuracy"]
    assert accuracy["ABCNN-3"] > 0.8
    assert accuracy["ABCNN-3"] > accuracy["without attention"] + 0.2
