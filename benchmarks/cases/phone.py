"""What runs on a phone: exported graphs of single layers, and of trained recipes."""

import collections
import functools
import pathlib
import tempfile

import keras
import numpy as np

import keras_attention as ka
from benchmarks import compiled
from benchmarks.cases.attention import PoolingOfKeras, normal
from benchmarks.entries import (
    Comparison,
    Entry,
    Skipped,
    lengths_of,
    not_an_argument,
    not_installed,
)

STEPS = 128
FEATURES, HEADS, WORDS, WINDOW = 64, 4, 1000, 16
TEXT = b"The soup was cold, but it was not bad."


def tflite(options):
    """Each layer that has a near one in Keras or KerasHub, exported."""
    missing = not_installed("ai_edge_litert", "LiteRT")
    if compiled.BACKEND != "tensorflow":
        missing = "TFLite files are written by the TensorFlow backend alone"
    if missing:
        yield Skipped("tflite", missing)
        return
    for length in lengths_of(options, (STEPS,)):
        for name, kind, ours, peer, theirs in _pairs():
            if not options.wants(name):
                continue
            absent = not_installed("keras_hub", "KerasHub") if peer == "keras_hub" else None
            entries = [
                _exported("ours", kind, ours, length),
                _exported(peer, kind, theirs, length, absent=absent),
            ]
            if name.endswith("window"):
                entries[0].absent = not_an_argument(ka.MultiHeadAttention, "window")
                entries[1].absent = not_an_argument(
                    keras.layers.MultiHeadAttention, "sliding_window"
                )
            yield Comparison(name, length, entries, with_memory=False, with_matmul=False)


def _pairs():
    """Name, kind of input, ours, the peer's name and the peer's.

    `"x"` is vectors, of unknown batch and length, `"fixed"` the same of known ones, for peers that
    do not convert otherwise, and `"ids"` padded ids of unknown length. Ours and the peer's are
    functions that make a layer and call it on the steps `(B, T, D)`.
    """
    size = FEATURES // HEADS

    def of_ours(*args, **kwargs):
        return lambda x: ka.MultiHeadAttention(HEADS, size, *args, **kwargs)(x, x)

    def of_keras(**kwargs):
        return lambda x: keras.layers.MultiHeadAttention(HEADS, size, **kwargs)(x, x)

    def content(score):
        return lambda x: ka.ContentAttention(score)(x, x)

    def hub(name, **kwargs):
        def call(x):
            import keras_hub

            return getattr(keras_hub.layers, name)(**kwargs)(x)

        return call

    groups = keras.layers.GroupQueryAttention
    block = {"intermediate_dim": 2 * FEATURES, "num_heads": HEADS}

    def block_of_ours(cls):
        return lambda x: cls(2 * FEATURES, HEADS)(x)

    def causal(layer):
        return lambda x: layer(HEADS, size)(x, x, use_causal_mask=True)

    multi = "MultiHeadAttention"
    dot, additive = (
        lambda x: keras.layers.Attention()([x, x]),
        lambda x: keras.layers.AdditiveAttention()([x, x]),
    )
    return [
        (multi, "x", of_ours(), "keras", of_keras()),
        (f"{multi}, padding", "ids", of_ours(), "keras", of_keras()),
        (f"{multi}, causal", "fixed", causal(ka.MultiHeadAttention), "keras",
         causal(keras.layers.MultiHeadAttention)),
        (f"{multi}, groups", "x", of_ours(num_key_value_heads=2), "keras",
         lambda x: groups(size, HEADS, 2)(x, x)),
        (f"{multi}, window", "x", of_ours(window=WINDOW), "keras",
         of_keras(sliding_window=WINDOW)),
        ("ContentAttention, dot", "x", content("dot"), "keras", dot),
        ("ContentAttention, dot, padding", "ids", content("dot"), "keras", dot),
        ("ContentAttention, additive", "x", content("additive"), "keras", additive),
        ("SelfAttention, dot", "x", lambda x: ka.SelfAttention("dot")(x), "keras", dot),
        ("AttentionPooling", "x", lambda x: ka.AttentionPooling()(x), "keras",
         lambda x: PoolingOfKeras(FEATURES)(x)),
        ("ExportableRNN, GRU", "fixed",
         lambda x: ka.ExportableRNN(keras.layers.GRUCell(FEATURES))(x), "keras",
         lambda x: keras.layers.GRU(FEATURES)(x)),
        ("TransformerEncoderBlock", "x", block_of_ours(ka.TransformerEncoderBlock),
         "keras_hub", hub("TransformerEncoder", **block)),
        ("TransformerDecoderBlock", "x", block_of_ours(ka.TransformerDecoderBlock),
         "keras_hub", hub("TransformerDecoder", **block)),
        ("RotaryPositionEmbedding", "x", lambda x: ka.RotaryPositionEmbedding()(x), "keras_hub",
         hub("RotaryEmbedding")),
        ("SinusoidalPositionEncoding", "fixed",
         lambda x: x + ka.SinusoidalPositionEncoding()(x), "keras_hub",
         lambda x: x + hub("SinePositionEncoding")(x)),
    ]  # fmt: skip


def _exported(name, kind, function, length, absent=None):
    """An entry that exports a model, counts its operators, and runs the file."""
    entry = Entry(name, None, "tflite", absent=absent)

    def build():
        if kind == "ids":
            inputs = keras.Input((None,), dtype="int32", name="ids")
            x = keras.layers.Embedding(WORDS, FEATURES, mask_zero=True)(inputs)
        else:
            shape = (1, length) if kind == "fixed" else (None, None)
            inputs = x = keras.Input(batch_shape=(*shape, FEATURES), name="x")
        model = keras.Model(inputs, keras.layers.Identity(name="output")(function(x)))
        with tempfile.TemporaryDirectory() as folder:
            # What Keras' layers make of a sample is theirs to answer for.
            bounds = {"tflite": {"difference": None, "agreement": None}}
            report = ka.export_model(
                model, folder, _sample(kind, length), formats="tflite", bounds=bounds
            )
            content = (pathlib.Path(folder) / "model.tflite").read_bytes()
        figures = report["forms"]["tflite"]["signatures"]["serving_default"]
        operators = operators_of(content, "serving_default")
        entry.facts.update(
            operators=sum(operators.values()),
            operators_by_name=dict(operators),
            bytes=len(content),
            difference_of_the_export=figures["difference"],
        )

        def prepare(length):
            runner = _runner(content, "serving_default")
            sample = _sample(kind, length)
            return lambda: runner(**sample)

        return prepare

    entry.build = build
    return entry


def _sample(kind, length):
    if kind != "ids":
        return {"x": normal(0, 1, length, FEATURES)}
    ids = np.random.default_rng(0).integers(1, WORDS, (1, length)).astype("int32")
    ids[:, length - length // 4 :] = 0
    return {"ids": ids}


def operators_of(content, signature):
    """How many operators of each name a signature runs."""
    from keras_attention.export import flatbuffer

    model = flatbuffer.read(content)
    return collections.Counter(
        flatbuffer.operator_name(model, operator)
        for subgraph in flatbuffer.subgraphs_of(model, signature)
        for operator in subgraph.operators
    )


def _runner(content, signature, with_text=False):
    from ai_edge_litert import interpreter as litert

    from keras_attention.export.quiet import quiet

    options = {"model_content": content, "num_threads": 1}
    with quiet():
        if with_text:
            from tensorflow_text import tflite_registrar

            interpreter = litert.InterpreterWithCustomOps(
                custom_op_registerers=tflite_registrar.SELECT_TFTEXT_OPS, **options
            )
        else:
            interpreter = litert.Interpreter(**options)
        return interpreter.get_signature_runner(signature)


def recipes(options):
    """Each signature of each run: `model.tflite` beside the other files."""
    missing = not_installed("ai_edge_litert", "LiteRT")
    if missing or not options.runs:
        yield Skipped(
            "recipes", missing or "name the folders of trained recipes: --runs FOLDER ..."
        )
        return
    for folder in map(pathlib.Path, options.runs):
        files = sorted(folder.glob("*.tflite"), key=lambda path: (len(path.stem), path.stem))
        for signature in _signatures(files[0]):
            work = f"{folder.name}, {signature}"
            if not options.wants(work):
                continue
            for length in lengths_of(options, (STEPS,)):
                entries = [
                    Entry(
                        path.name,
                        functools.partial(_file, path, signature),
                        "tflite",
                        facts={"bytes": path.stat().st_size},
                    )
                    for path in files
                ]
                yield Comparison(work, length, entries, with_memory=False, with_matmul=False)


def _signatures(path):
    from ai_edge_litert.interpreter import Interpreter

    return list(Interpreter(model_path=str(path)).get_signature_list())


def _file(path, signature):
    """An entry's `build` for a file of a run."""
    content = path.read_bytes()
    operators = operators_of(content, signature)
    runner = _runner(content, signature, any(name.startswith("CUSTOM:") for name in operators))
    details = runner.get_input_details()

    def prepare(length):
        inputs = {name: _made_up(detail, length) for name, detail in details.items()}
        return lambda: runner(**inputs)

    return prepare


def _made_up(detail, length):
    """An input of one row; unknown sizes are T. Small ids are words in every vocabulary."""
    shape = [int(size) for size in detail["shape_signature"]]
    if len(shape) and shape[0] < 0:
        shape[0] = 1
    shape = tuple(length if size < 0 else size for size in shape)
    kind = np.dtype(detail["dtype"])
    if kind.kind == "S":
        return np.full(shape, TEXT)
    if kind.kind == "b":
        return np.ones(shape, kind)
    if kind.kind == "f":
        return normal(0, *shape).astype(kind)
    return (1 + np.arange(np.prod(shape, dtype=int)) % 3).reshape(shape).astype(kind)
