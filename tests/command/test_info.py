"""`keras-attention info`."""

from tests.backend import BACKEND


def test_shows_what_is_in_a_model(call):
    code, shown, error = call("info", "model.keras")
    assert code == 0 and error == ""
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "model finder (Functional)" in lines
    assert "input ids int32 (None, None)" in lines
    assert "output label float32 (None, 2)" in lines
    # embedding 40, query, key and value 3 x 30, output 28, pool 4, label 10
    assert "parameters 172, 172 of them trainable" in lines
    assert "precision float32" in lines
    assert "attention layers: 2" in lines
    assert "mix MultiHeadAttention 118 parameters query (None, None, 4), value (None, None, 4)" in (
        lines
    )
    assert "pool AttentionPooling 4 parameters input (None, None, 4)" in lines
    assert any(line.startswith("saved 20") and " by Keras 3." in line for line in lines)
    assert any(line.startswith(f"read by Keras on {BACKEND}: python 3.") for line in lines)
