"""`python -m benchmarks`: what it measures, says and writes. No test depends on a time."""

import json
import sys

import keras
import numpy as np
import pytest

import keras_attention as ka
from benchmarks import __main__ as command
from benchmarks import compare as comparing
from benchmarks import compiled, measure, memory, report
from benchmarks.cases import CASES, attention, decoding, find, phone, process
from benchmarks.entries import Comparison, Entry, Options, Skipped, not_an_argument

MODE = compiled.modes()[0]
MIB = 2**20


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(process, "matmul_size", lambda: 16)
    monkeypatch.setattr(measure, "REST", 0.0)
    monkeypatch.setattr(measure, "SHORTEST", 1e-4)


def made_up(case, comparison, entry, options):
    return {"extra_bytes": 2 * MIB, "first_call_bytes": 3 * MIB}


def numpy_entry(name, mode="", **kwargs):
    return Entry(name, lambda: lambda length: lambda: np.ones(length), mode, **kwargs)


def run(*arguments, capsys=None):
    code = command.main(arguments, measure_memory=made_up)
    return (code, *capsys.readouterr()) if capsys else code


def test_times_are_taken_in_turns_and_every_second_one_in_reverse():
    order = []
    runs = [lambda name=name: order.append(name) for name in "ab"]
    table = measure.times(runs, 4, calls=[1, 1])
    assert table.shape == (4, 2)
    assert "".join(order) == "abbaabba"
    assert len(measure.times(runs, 9, calls=[1, 1], budget=0)) == measure.LEAST_TURNS
    assert measure.times([lambda: 3.0], 2, None).tolist() == [[3], [3]]


def test_a_ratio_is_the_median_of_the_ratios_of_the_turns():
    table = np.array([[1.0, 1.0], [9.0, 3.0], [4.0, 2.0]])
    assert measure.ratio(table, 0, 1) == 2.0  # and not 4 / 2 by chance
    assert measure.ratio(table, 1, 0) == 0.5


@pytest.mark.parametrize("case", ["mha", "causal"])
def test_mha_compares_equal_layers_and_skips_who_is_absent(case, monkeypatch):
    monkeypatch.setattr(
        attention, "not_installed", lambda package, name: f"{name} is not installed"
    )
    options = Options(lengths=(6,), works=("forward",), modes=(MODE,), turns=2)
    (comparison,) = getattr(attention, case)(options, features=12, heads=3)
    found = comparing.compare(case, comparison, options, made_up)
    records = {record["entry"]: record for record in found["records"]}
    assert {"ours", "keras"} <= set(records)
    for record in records.values():
        assert record["difference"] < 1e-5
        assert len(record["turns"]) == 2
        seen = {"mha": 36, "causal": 21}[case]
        assert record["operations"] == 8 * 6 * 12**2 + 4 * seen * 12
        assert record["of_matmul"] > 0
        assert record["extra_bytes"] == 2 * MIB
    ratio = found["ratios"][0]
    assert (ratio["entry"], ratio["peer"], ratio["mode"]) == ("ours", "keras", MODE)
    assert ratio["time"] > 0
    assert ratio["memory"] == 1
    assert {"what": "torch, forward at T = 6", "why": "PyTorch is not installed"} in found[
        "skipped"
    ]


@pytest.mark.parametrize("case", [attention.mha, attention.causal])
def test_torch_gives_our_output_and_gradients_exist(case):
    pytest.importorskip("torch")
    options = Options(lengths=(6,), modes=(MODE,), turns=1, with_memory=False)
    for comparison in case(options, features=12, heads=3):
        comparison.entries = [e for e in comparison.entries if e.name in ("ours", "torch")]
        found = comparing.compare("mha", comparison, options)
        assert [r["entry"] for r in found["records"]] == ["ours", "torch"]
        assert not found["skipped"]


def test_a_training_step_differentiates_by_inputs_and_weights():
    layer = ka.MultiHeadAttention(2, 3)
    layer.build((1, None, 6), (1, None, 6))
    arguments = layer.variables, layer.trainable_variables
    step = compiled.training(lambda x: layer(x, x), *arguments, MODE)
    gradients = keras.tree.flatten(step(keras.ops.ones((1, 4, 6))))
    assert [tuple(g.shape) for g in gradients] == [(1, 4, 6), *(w.shape for w in layer.weights)]


def test_who_needs_more_memory_than_there_is_does_not_run():
    entries = [numpy_entry("ours"), numpy_entry("large", estimate=3 * 2**30)]
    comparison = Comparison("forward", 4, entries, with_matmul=False)
    options = Options(turns=1, memory_limit=2**30)

    def measured(case, comparison, entry, options):
        return "took more than 1.0 GiB"

    found = comparing.compare("mha", comparison, options, made_up)
    assert [record["entry"] for record in found["records"]] == ["ours"]
    assert "would take some 3.0 GiB, where 1.0 GiB may be taken" in found["skipped"][0]["why"]
    found = comparing.compare("mha", comparison, options, measured)
    assert not found["records"]
    assert found["skipped"][0] == {
        "what": "ours, forward at T = 4",
        "why": "took more than 1.0 GiB",
    }


def test_an_entry_that_fails_or_disagrees_is_named():
    def fail():
        raise RuntimeError("no such\nkernel")

    entries = [
        numpy_entry("ours"),
        Entry("broken", fail),
        Entry("wrong", lambda: lambda length: lambda: np.zeros(length)),
    ]
    comparison = Comparison("forward", 4, entries, outputs_agree=True, with_matmul=False)
    found = comparing.compare("mha", comparison, Options(turns=1), made_up)
    assert [record["difference"] for record in found["records"]] == [0, 1]
    assert [skipped["why"] for skipped in found["skipped"]] == [
        "RuntimeError: no such kernel",
        "measured, but its output differs by 1",
    ]


def test_a_window_needs_layers_that_have_one(monkeypatch):
    class Layer:
        def __init__(self, window):
            pass

    assert not_an_argument(Layer, "window") is None
    assert "no argument `band`" in not_an_argument(Layer, "band")
    monkeypatch.setattr(ka, "MultiHeadAttention", Layer)
    comparisons = list(attention.window(Options(lengths=(8,))))
    assert all(comparison.entries[0].name == "ours" for comparison in comparisons)
    assert [comparison.work for comparison in comparisons] == ["forward", "training"]
    monkeypatch.setattr(ka, "MultiHeadAttention", keras.layers.MultiHeadAttention)
    (skipped,) = attention.window(Options(lengths=(8,)))
    assert isinstance(skipped, Skipped)
    assert "no argument `window`" in skipped.why


@pytest.mark.parametrize("window", [1, 3, 50])
def test_operations_of_a_window_are_those_of_the_steps_that_are_seen(window):
    places = np.arange(9)
    seen = (np.abs(places[:, None] - places) < window).sum()
    assert attention._operations(9, 4, window) == 8 * 9 * 4**2 + 4 * seen * 4
    seen = (places[:, None] >= places).sum()
    assert attention._operations(9, 4, is_causal=True) == 8 * 9 * 4**2 + 4 * seen * 4


@pytest.mark.parametrize("case", CASES)
def test_every_case_begins_with_ours(case):
    for comparison in find(case)(Options(lengths=(8,))):
        if isinstance(comparison, Skipped):
            assert comparison.why
            continue
        labels = [entry.label for entry in comparison.entries]
        assert len(set(labels)) == len(labels) > 1
        first = comparison.entries[0].name
        assert first.startswith(("ours", "keras_hub at"))


def test_the_cached_search_of_ours_and_of_keras_hub_finds_the_same_tokens():
    pytest.importorskip("keras_hub")
    options = Options(lengths=(3,), works=("tokens",), modes=(MODE,), turns=1, with_memory=False)
    (comparison,) = decoding.cached(options, layers=1, width=8, heads=2)
    found = comparing.compare("cached", comparison, options)
    assert [record["difference"] for record in found["records"]] == [0, 0]


@pytest.mark.skipif(compiled.BACKEND != "tensorflow", reason="TensorFlow writes TFLite files")
def test_exported_graphs_are_counted_and_run(tmp_path):
    pytest.importorskip("ai_edge_litert")
    options = Options(lengths=(8,), works=("SelfAttention, dot",), turns=1)
    (comparison,) = phone.tflite(options)
    found = comparing.compare("tflite", comparison, options)
    assert [record["operators"] for record in found["records"]] == [3, 3]
    assert found["ratios"][0]["operators"] == 1

    x = keras.Input((None, 4), name="x")
    model = keras.Model(x, ka.SelfAttention("dot", name="y")(x))
    ka.export_model(model, tmp_path, {"x": np.ones((1, 3, 4), "float32")}, formats="tflite")
    (comparison,) = phone.recipes(Options(lengths=(8,), runs=(str(tmp_path),)))
    found = comparing.compare("recipes", comparison, options)
    assert [record["entry"] for record in found["records"]] == ["model.tflite"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak can't be set back")
def test_memory_is_the_peak_above_what_was_there_before():
    def prepare(length):
        return lambda: np.ones(length * MIB // 8)

    found = memory.extra_bytes(prepare, 64)
    assert 60 * MIB < found["extra_bytes"] < 80 * MIB
    assert memory.free_bytes() > 0


def test_growth_is_the_power_of_the_length():
    records = [
        {"work": "forward", "entry": "ours", "mode": "", "length": length}
        | {"times_matmul": 3.0 * length**2, "extra_bytes": 5 * length}
        for length in (8192, 2048, 4096, 128)
    ]
    (row,) = report.growth(records)
    assert (row["from"], row["to"]) == (2048, 8192)
    assert row["time"] == pytest.approx(2)
    assert row["memory"] == pytest.approx(1)
    assert "time grows as T^2.00 and memory grows as T^1.00" in report.growth_lines([row])[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.3456, "12.3 s"), (0.0123, "12.3 ms"), (4e-5, "40.0 us"), (250, "250 s")],
)
def test_times_have_three_digits_and_a_unit(seconds, text):
    assert report.seconds(seconds) == text


def test_the_command_writes_json_table_and_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    flags = f"--lengths 8,4 --works forward --modes {MODE} --turns 2 --output {tmp_path / 'out'}"
    code, out, _ = run("pooling", *flags.split(), capsys=capsys)
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "benchmarks.json",
        "benchmarks.md",
        "pooling.png",
    ]
    found = json.loads((tmp_path / "out" / "benchmarks.json").read_text())
    assert {"command", "date", "backend", "device", "dtype", "machine", "versions"} < set(found)
    assert found["command"].endswith(f"python -m benchmarks pooling {flags}")
    assert found["backend"] == compiled.BACKEND
    assert found["versions"]["keras"] == keras.__version__
    case = found["cases"]["pooling"]
    assert [(r["length"], r["peer"]) for r in case["ratios"]] == [(4, "keras"), (8, "keras")]
    assert {"seconds", "turns", "operations", "of_matmul", "extra_bytes"} < set(case["records"][0])
    assert case["skipped"] == []
    table = (tmp_path / "out" / "benchmarks.md").read_text()
    assert "2.00 MiB" in table
    assert all(line in out for line in table.splitlines()[3:-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("mhaa", "no case is named 'mhaa'; the cases are mha,"),
        ("mha --lengths 0", "argument --lengths: must be a positive integer. Received: 0"),
        ("mha --turns x", "must be a positive integer. Received: x"),
        ("mha --modes fast", "--modes must be some of"),
        ("recipes --runs tests", "--runs must name folders with TFLite files. Received: tests"),
        ("mha --output setup.cfg", "--output must be a folder. Received: setup.cfg"),
        ("mha --speed 3", "unrecognized arguments: --speed 3"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, message, capsys):
    code, out, error = run(*arguments.split(), capsys=capsys)
    assert code == 2
    assert not out
    assert error.startswith("Error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("chosen_by", ["KERAS_BACKEND", "keras.json"])
def test_other_backends_are_one_line(chosen_by, monkeypatch, capsys):
    if chosen_by == "KERAS_BACKEND":
        monkeypatch.setenv("KERAS_BACKEND", "torch")
    else:
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    code, _, error = run("mha", capsys=capsys)
    assert code == 2 and error.count("\n") == 1
    assert chosen_by in error and error.endswith("Received: torch\n")


def test_the_list_names_every_case(capsys):
    code, out, _ = run("--list", capsys=capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(CASES)


def test_ctrl_c_ends_with_130_and_keeps_what_is_whole(tmp_path, monkeypatch, capsys):
    def compare(case, comparison, options, measure_memory):
        if case == "han":
            raise KeyboardInterrupt
        return {"records": [], "ratios": [], "skipped": [{"what": "all", "why": "a test"}]}

    monkeypatch.setattr(comparing, "compare", compare)
    code, _, error = run("han", "--output", str(tmp_path / "out"), capsys=capsys)
    assert code == 130
    assert error == "Interrupted. Nothing written.\n"
    assert not (tmp_path / "out").exists()
    code, _, error = run("pooling", "han", "--output", str(tmp_path / "out"), capsys=capsys)
    assert code == 130
    assert error.endswith("out: pooling.\n")
    assert list(json.loads((tmp_path / "out/benchmarks.json").read_text())["cases"]) == ["pooling"]
