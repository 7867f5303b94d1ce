"""Random calls of layers, each with the answer that plain NumPy gives."""

import dataclasses

import keras
import ml_dtypes
import numpy as np
from hypothesis import strategies as st

import keras_attention as ka
from tests.backend import BACKEND
from tests.fuzz import oracle

RUBBISH = (np.nan, np.inf, -np.inf, 1e3, -1e3)
BATCHES = [1, 2, 3, 2, 3, 2, 3, 0]
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 0]
SIZES = [1, 2, 3, 4]
NORMALIZERS = list(oracle.NORMALIZERS)
WIDE = ["float64"] if BACKEND == "tensorflow" else []  # JAX has float64 as a global switch alone
POLICIES = ["float32"] * 4 + WIDE * 3 + ["float16", "mixed_float16", "mixed_bfloat16"]
INPUT_DTYPES = ["float32"] * 4 + WIDE + ["float16", "int32", "uint8"]
MASK_DTYPES = ["bool", "bool", "int32", "uint8"]
# Relative to numbers of about one.
TOLERANCES = {"float64": 1e-8, "float32": 1e-4, "float16": 4e-2, "bfloat16": 0.25}
# From here on rounding does not decide which of two scores is higher.
MARGINS = {"float64": 1e-8, "float32": 1e-3, "float16": 0.1, "bfloat16": 0.5}


# Scores ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class DrawnScore:
    """A score as the package makes it (`made`), and as the equations have it (a call)."""

    name: str
    options: dict = dataclasses.field(default_factory=dict)
    parts: list = dataclasses.field(default_factory=list)
    heads: int | None = None  # of a score inside of multi-head attention
    made: keras.layers.Layer | None = dataclasses.field(default=None, repr=False)

    def make(self, policy="float32"):
        if self.name == "sum":
            parts = [part.make(policy) for part in self.parts]
            if self.options.get("by_plus"):
                self.made = parts[0]
                for part in parts[1:]:
                    self.made = self.made + part
            else:
                self.made = ka.SumScore(parts, dtype=policy)
        else:
            self.made = SCORE_CLASSES[self.name](**self.options, dtype=policy)
        return self.made

    def __call__(self, query, key, values, start=None):
        """`values` is a function of a layer that returns its weights by name."""
        if self.name == "sum":
            return sum(part(query, key, values, start) for part in self.parts)
        weights = values(self.made)
        bias = weights.get("key/bias", weights.get("query/bias", 0.0))
        if self.name in ("dot", "scaled_dot", "euclidean"):
            return getattr(oracle, self.name)(query, key)
        if self.name in ("bilinear", "general"):
            return oracle.bilinear(query, key, weights["query/kernel"])
        if self.name == "cosine":
            return oracle.cosine(query, key, weights.get("strength", self.options.get("scale", 10)))
        if self.name == "additive":
            kernels = weights["query/kernel"], weights["key/kernel"]
            return oracle.additive(query, key, *kernels, weights["score/kernel"][:, 0], bias)
        if self.name == "tanh_dot":
            return oracle.tanh_dot(query, key, weights["key/kernel"], bias)
        if self.name == "concat":
            combination = self.options.get("combination", "q,k")
            terms = range(len(combination.split(",")))
            kernels = [weights[f"term_{i}/kernel"] for i in terms]
            v = weights["score/kernel"][:, 0] if "score/kernel" in weights else None
            bias = weights.get("term_0/bias", 0.0)
            activation = ACTIVATIONS[self.options.get("activation", "tanh")]
            return oracle.concat(query, key, combination, kernels, bias, v, activation)
        if self.name == "location":
            return oracle.location(query, key, weights["query/kernel"])
        if self.name == "clipped":
            distance = self.options["max_distance"]
            vectors = weights["distance_kernel"]
            return oracle.clipped_position(query, key, vectors, distance, start)
        if self.name == "bucketed":
            distance, is_causal = self.options["max_distance"], self.options["use_causal_buckets"]
            table = weights["distance_kernel"]
            scores = oracle.bucketed_position(query, key, table, distance, is_causal, start)
        elif self.name == "alibi":
            slopes = self.options.get("slopes") or oracle.alibi_slopes(self.heads or 1)
            scores = oracle.alibi(query, key, slopes, start)
        return scores if self.heads else scores[0]


SCORE_CLASSES = {
    "dot": ka.DotScore,
    "scaled_dot": ka.ScaledDotScore,
    "bilinear": ka.BilinearScore,
    "general": ka.BilinearScore,
    "cosine": ka.CosineScore,
    "additive": ka.AdditiveScore,
    "tanh_dot": ka.TanhDotScore,
    "euclidean": ka.EuclideanScore,
    "concat": ka.ConcatScore,
    "location": ka.LocationScore,
    "clipped": ka.RelativePositionScore,
    "bucketed": ka.RelativePositionScore,
    "alibi": ka.ALiBiScore,
}
ACTIVATIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), None: None}
OF_EQUAL_SIZES = ["scaled_dot", "dot", "cosine", "euclidean"]
OF_ANY_SIZES = ["bilinear", "general", "additive", "tanh_dot", "concat"]
OF_POSITIONS = ["alibi", "clipped", "bucketed"]


@st.composite
def scores(draw, query_size, key_size, longest, positions=True, content=True, heads=None, depth=2):
    """A score for queries and keys of these sizes and keys of at most `longest` steps."""
    names = ["sum"] if depth else []
    if content:
        names = (OF_EQUAL_SIZES if query_size == key_size else []) + OF_ANY_SIZES + names
        names.append("location")
    if positions:
        names = names + OF_POSITIONS if content else OF_POSITIONS + names
    name = draw(st.sampled_from(names))
    if name == "sum":
        one = scores(query_size, key_size, longest, positions, content, heads, depth - 1)
        parts = draw(st.lists(one, min_size=1 if depth == 2 else 2, max_size=3))
        return DrawnScore("sum", {"by_plus": draw(st.booleans())}, parts, heads)
    options = {}
    if name == "cosine":
        learned = draw(st.booleans())
        options = {"scale": draw(st.sampled_from([10.0, 1.0])), "use_learned_scale": learned}
    elif name in ("additive", "tanh_dot"):
        options = {"use_bias": draw(st.booleans())}
        if name == "additive":
            options["units"] = draw(st.sampled_from([None, *SIZES]))
    elif name == "concat":
        options = draw(_concat_options(query_size == key_size))
    elif name == "location":
        options = {"max_length": longest + draw(st.integers(0, 2)) or 1}
    elif name == "clipped":
        options = {"max_distance": draw(st.integers(1, 5))}
    elif name == "bucketed":
        is_causal = draw(st.booleans())
        buckets = draw(st.integers(2, 8) if is_causal else st.sampled_from([4, 6, 8]))
        exact = buckets // (2 if is_causal else 4)
        options = {
            "max_distance": draw(st.integers(exact + 1, exact + 6)),
            "num_buckets": buckets,
            "use_causal_buckets": is_causal,
        }
    elif name == "alibi" and draw(st.booleans()):
        slopes = st.lists(
            st.sampled_from([0.5, 0.25, 1.0]), min_size=heads or 1, max_size=heads or 1
        )
        options = {"slopes": draw(slopes)}
    return DrawnScore(name, options, heads=heads)


@st.composite
def _concat_options(draw, of_equal_sizes):
    terms = list(oracle.TERMS) if of_equal_sizes else ["q", "k"]
    chosen = draw(st.lists(st.sampled_from(terms), min_size=1, max_size=5, unique=True))
    activation = draw(st.sampled_from(["tanh", "relu", None]))
    if activation is None and set(chosen) <= {"q", "k"}:
        activation = "tanh"  # a linear score of these alone is refused
    units = None if activation is None else draw(st.sampled_from([None, *SIZES]))
    options = {"combination": ",".join(chosen), "activation": activation, "units": units}
    return options | {"use_bias": draw(st.booleans())}


def numbers(rng, shape):
    """Normally distributed, but none so near to zero that a norm is all rounding."""
    x = rng.normal(size=shape)
    return np.where(x < 0, x - 0.1, x + 0.1)


# Masks -------------------------------------------------------------------------------------------


def mask_array(rng, shape, kind, dtype="bool"):
    """`kind`: which share of the steps may be attended to."""
    share = {"full": 1.0, "most": 0.8, "half": 0.5, "few": 0.2, "none": 0.0}[kind]
    return (rng.random(shape) < share).astype(dtype)


MASK_KINDS = st.sampled_from(["full", "most", "half", "few", "none"])


@st.composite
def broadcast_shapes(draw, full):
    """A shape that broadcasts to `full`: any axis may be 1, and all but the last two missing.

    With heads `(B, H, T, S)` three axes are `(B, T, S)`.
    """
    rank = draw(st.integers(2, len(full)))
    axes = full[-2:] if rank == 2 else (full[0], *full[-2:]) if rank == 3 else full
    return tuple(draw(st.sampled_from([n, 1] if n else [0, 1])) for n in axes)


# Calls -------------------------------------------------------------------------------------------


@dataclasses.dataclass
class DrawnCall:
    """A layer, what it is called with, and the answer of NumPy."""

    kind: str
    options: dict
    score: DrawnScore | None
    policy: str
    dtypes: dict  # of tensors
    shapes: dict  # of tensors
    masks: dict  # by argument: a mask array
    seed: int
    use_causal_mask: bool = False
    rotary_base: float | None = None
    score_by_name: bool = False
    of_itself: bool = False  # whether the query is the value
    layer: keras.layers.Layer | None = dataclasses.field(default=None, repr=False)
    _clean: dict | None = dataclasses.field(default=None, repr=False)

    # What the layer gets

    def make(self):
        """A built layer with weights that are all different from zero."""
        options = dict(self.options, dtype=self.policy)
        if self.score is not None:
            made = self.score.make(self.policy)
            if self.kind == "multi_head":
                options["position"] = made
            else:
                options["score"] = self.score.name if self.score_by_name else made
        if self.rotary_base is not None:
            options["position"] = ka.RotaryPositionEmbedding(self.rotary_base)
        self.layer = LAYERS[self.kind](**options)
        tensors = self.tensors()
        specs = {k: keras.KerasTensor(v.shape, str(v.dtype)) for k, v in tensors.items()}
        self.layer(**specs, **self.flags())
        if self.score_by_name:
            self.score.made = self.layer.score
        rng = np.random.default_rng(self.seed + 1)
        for weight in self.layer.weights:
            if keras.backend.is_float_dtype(weight.dtype):
                weight.assign(0.7 * numbers(rng, weight.shape))
        return self.layer

    def flags(self):
        return {"use_causal_mask": True} if self.use_causal_mask else {}

    def tensors(self, dirty=True):
        """All arrays of the call, masks too; with rubbish in hidden steps, else with zeros."""
        if self._clean is None:
            rng = np.random.default_rng(self.seed)
            self._clean = {}
            for name, shape in self.shapes.items():
                x = numbers(rng, shape)
                if not keras.backend.is_float_dtype(self.dtypes[name]):
                    x = rng.integers(0, 4, shape)
                self._clean[name] = x.astype(self.dtypes[name])
            if self.of_itself:
                self._clean["query"] = self._clean["value"].copy()
            for name, hidden in self.hidden().items():
                self._clean[name][hidden] = 0
        arrays = {name: x.copy() for name, x in self._clean.items()}
        if dirty:
            for name, hidden in self.hidden().items():
                x = arrays[name]
                rubbish = np.resize(RUBBISH, x[hidden].shape)
                if not keras.backend.is_float_dtype(x.dtype):
                    rubbish = np.full(x[hidden].shape, 100)
                x[hidden] = rubbish
        return arrays | self.masks

    @property
    def compute_dtype(self):
        return keras.DTypePolicy(self.policy).compute_dtype

    @property
    def tolerance(self):
        tolerance = TOLERANCES[self.compute_dtype]
        # Angles of positions are in float32 whatever the policy.
        return tolerance if self.rotary_base is None else max(tolerance, 1e-5)

    @property
    def margin(self):
        return MARGINS[self.compute_dtype]

    # What it has to answer

    def lengths(self):
        """B, T and S."""
        value = self.shapes.get("value", self.shapes.get("inputs"))
        if self.kind == "pooling":
            query = self.shapes.get("query", ())
            steps = self.options["num_queries"] if not query else query[1] if query[2:] else 1
        else:
            steps = self.shapes.get("query", value)[1]
        return value[0], steps, value[1]

    def pairs(self, *names, by_position=True):
        """The mask of all pairs by the masks of these names; by default all, and positions."""
        batch, steps, length = self.lengths()
        shape = (batch, steps, length)
        if self.kind == "multi_head":
            shape = (batch, self.options["num_heads"], steps, length)
        masks = dict(self.masks)
        own = masks.pop("mask", masks.pop("inputs_mask", None))
        if own is not None:
            masks["value_mask"] = own
            if self.kind == "self":
                masks["query_mask"] = own
        for name, mask in masks.items():
            if name != "attention_mask":
                masks[name] = np.broadcast_to(mask, (batch, mask.shape[1]))
        if names:
            masks = {name: mask for name, mask in masks.items() if name in names}
        elif by_position:
            masks["use_causal_mask"] = self.use_causal_mask
            masks["window_width"] = self.options.get("window")
            masks["num_global"] = self.options.get("num_global", 0)
        return oracle.pairs(shape, **masks)

    def hidden(self):
        """By tensor: boolean `(B, steps)`, the steps that a mask hides from everyone."""
        batch, steps, length = self.lengths()
        of_values, of_queries = np.zeros((batch, length), bool), np.zeros((batch, steps), bool)
        for name in ("query_mask", "value_mask", "key_mask", "attention_mask"):
            mask = self.pairs(name)
            mask = mask.any(axis=1) if mask.ndim == 4 else mask
            if name != "query_mask" and steps:
                of_values |= ~mask.any(axis=1)
            if name in ("query_mask", "attention_mask") and length:
                of_queries |= ~mask.any(axis=2)
        hidden = {"value": of_values, "key": of_values, "query": of_queries}
        if self.kind == "self":
            hidden = {"inputs": of_values & of_queries}
        if len(self.shapes.get("query", (0, 0, 0))) == 2:
            hidden["query"] = of_queries[:, 0]
        return {name: mask for name, mask in hidden.items() if name in self.shapes}

    def values(self):
        """The layer's weights by variable, as what computes sees them: centers are in float32."""
        return {
            id(w): _as_computed(w, w.dtype if "center" in w.path else self.compute_dtype)
            for w in self.layer.weights
        }

    def answer(self, changed_tensors=None, changed_values=None):
        """What the equations give."""
        arrays = {
            name: _as_computed(x, self.compute_dtype)
            for name, x in self.tensors(dirty=False).items()
            if name in self.shapes
        }
        arrays |= changed_tensors or {}
        numbers = changed_values or self.values()

        def values(layer):
            return {_name_in(layer, w): numbers[id(w)] for w in layer.weights}

        own, mask = values(self.layer), self.pairs()
        normalizer = self.options.get("normalizer", "softmax")
        if self.kind == "self":
            query = key = value = arrays["inputs"]
        else:
            value = arrays["value"]
            key, query = arrays.get("key", value), arrays.get("query")
        if query is None:
            query = np.broadcast_to(own["query"], (len(value), *own["query"].shape))
        query = query[:, None] if query.ndim == 2 else query
        margin = self.margin
        if self.kind == "multi_head":
            position = self.score and (lambda q, k: self.score(q, k, values))
            arguments = query, key, value, mask, own, position, self.rotary_base
            return oracle.multi_head_attention(normalizer, *arguments, margin=margin)
        if self.kind == "location":
            of_layer = own[next(name for name in own if name.endswith("query/kernel"))]

            def score(q, k):
                return oracle.location(q, value, of_layer)
        else:

            def score(q, k):
                return self.score(q, k, values)

        if self.kind == "local":
            query_mask = self.masks.get("query_mask")
            if query_mask is not None:
                query_mask = np.broadcast_to(query_mask, query.shape[:2])
            centers = None
            if self.options["center"] == "predictive":
                kernels = own["center_hidden/kernel"], own["center/kernel"]
                centers = oracle.predicted_centers(query, mask, *kernels)
            arguments = query, key, value, mask, self.options["half_width"], query_mask, centers
            return oracle.local_attention(score, normalizer, *arguments, margin=margin)
        answer = oracle.attention(score, normalizer, query, key, value, mask, margin)
        is_vector = "query" not in self.shapes and self.options.get("num_queries") == 1
        if self.kind == "pooling" and (is_vector or len(self.shapes.get("query", (0, 0, 0))) == 2):
            answer.output, answer.weights = answer.output[:, 0], answer.weights[:, 0]
        return answer


LAYERS = {
    "content": ka.ContentAttention,
    "self": ka.SelfAttention,
    "multi_head": ka.MultiHeadAttention,
    "local": ka.LocalAttention,
    "location": ka.LocationAttention,
    "pooling": ka.AttentionPooling,
}
BY_NAME = {"dot", "scaled_dot", "bilinear", "general", "cosine", "additive", "tanh_dot"}
BY_NAME |= {"euclidean", "concat", "alibi"}


def _as_computed(x, dtype):
    """float64, after rounding to the dtype in which layers compute."""
    if not isinstance(x, np.ndarray):
        x = keras.ops.convert_to_numpy(x)
    narrow = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return x.astype(narrow).astype("float64")


def _name_in(layer, weight):
    return f"/{weight.path}".split(f"/{layer.name}/", 1)[1]


@st.composite
def calls(draw, kinds=tuple(LAYERS), policies=tuple(POLICIES), lengths=tuple(LENGTHS), sizes=None):
    """A call of any layer with any of its options."""
    kind = draw(st.sampled_from(kinds))
    size = st.sampled_from(sizes or SIZES)
    length = st.sampled_from(lengths)
    batch, steps = draw(st.sampled_from(BATCHES)), draw(length)
    other = steps if kind == "self" or draw(st.booleans()) else draw(length)
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    query_size = draw(size)
    shapes, options, score, rotary_base = {}, {}, None, None

    # Tensors
    if kind == "self":
        shapes["inputs"] = (batch, steps, query_size)
        key_size = query_size
    else:
        value_size = query_size if draw(st.booleans()) else draw(size)
        has_key = kind != "location" and draw(st.booleans())
        key_size = value_size
        if has_key:
            key_size = query_size if draw(st.booleans()) else draw(size)
        query_shape = (batch, steps, query_size)
        if kind == "pooling":
            given = draw(st.sampled_from(["learned", "one", "several"]))
            options["num_queries"] = steps = max(steps, 1) if given == "learned" else steps
            options["num_queries"] = max(steps, 1)
            query_size = key_size if given == "learned" else query_size
            steps = 1 if given == "one" else steps
            query_shape = {
                "learned": None,
                "one": (batch, query_size),
                "several": (batch, steps, query_size),
            }[given]
        if query_shape:
            shapes["query"] = query_shape
        shapes["value"] = (batch, other, value_size)
        if has_key:
            shapes["key"] = (batch, other, key_size)

    # Options
    if kind == "multi_head":
        groups = draw(st.sampled_from([1, 2, 3]))
        heads = options["num_heads"] = groups * draw(st.sampled_from([1, 2]))
        options["num_key_value_heads"] = groups if draw(st.booleans()) else None
        options["value_dim"] = draw(st.sampled_from([None, *SIZES]))
        options["use_bias"] = draw(st.booleans())
        options["output_shape"] = draw(st.sampled_from([None, 3, (2, 3)]))
        position = draw(st.sampled_from([None, "rotary", "score"]))
        options["key_dim"] = 2 * draw(st.sampled_from([1, 2])) if position else draw(size)
        if position == "rotary":
            rotary_base = draw(st.sampled_from([10000.0, 10.0]))
        elif position == "score":
            score = draw(scores(1, 1, other, content=False, heads=heads))
    elif kind == "location":
        options["max_length"] = max(other + draw(st.integers(0, 2)), 1)
    else:
        has_positions = kind != "pooling"
        score = draw(scores(query_size, key_size, other, positions=has_positions))
    if kind == "local":
        options["half_width"] = draw(st.integers(1, 3))
        options["center"] = draw(st.sampled_from(["predictive", "monotonic"]))
        if options["center"] == "predictive":
            options["units"] = draw(st.sampled_from([None, *SIZES]))
    if kind in ("content", "self", "multi_head") and draw(st.booleans()):
        options["window"] = draw(st.integers(1, 4))
        if steps == other:
            options["num_global"] = draw(st.integers(0, 2))
    options["normalizer"] = draw(st.sampled_from(NORMALIZERS))
    by_name = score is not None and kind != "multi_head" and score.name in BY_NAME
    by_name = by_name and draw(st.booleans())
    if by_name:
        score.options = {}  # a name has the default ones

    # Masks
    masks = {}

    def add_mask(name, shape):
        kind_of_mask = draw(MASK_KINDS)
        masks[name] = mask_array(rng, shape, kind_of_mask, draw(st.sampled_from(MASK_DTYPES)))

    of_steps = {
        "self": [["mask", "inputs_mask"]],
        "pooling": [["mask", "value_mask"], ["key_mask"]],
        "location": [["value_mask"]],
    }.get(kind, [["value_mask"], ["key_mask"]])
    rows = st.sampled_from([batch, batch, batch, 1])
    for names in of_steps:
        if names == ["key_mask"] and "key" not in shapes:
            continue
        if draw(st.booleans()):
            add_mask(draw(st.sampled_from(names)), (draw(rows), other))
    if len(shapes.get("query", ())) == 3 and draw(st.booleans()):
        add_mask("query_mask", (draw(rows), steps))
    if draw(st.booleans()):
        full = (batch, steps, other)
        full = (batch, options["num_heads"], steps, other) if kind == "multi_head" else full
        add_mask("attention_mask", draw(broadcast_shapes(full)))
    use_causal_mask = kind != "pooling" and draw(st.booleans())

    dtype = draw(st.sampled_from(INPUT_DTYPES))
    dtypes = dict.fromkeys(shapes, dtype)
    if len(shapes) > 1 and draw(st.booleans()):
        dtypes[draw(st.sampled_from(sorted(shapes)))] = draw(st.sampled_from(INPUT_DTYPES))
    policy = draw(st.sampled_from(policies))
    return DrawnCall(
        kind=kind,
        options=options,
        score=score,
        policy=policy,
        dtypes=dtypes,
        shapes=shapes,
        masks=masks,
        seed=seed,
        use_causal_mask=use_causal_mask,
        rotary_base=rotary_base,
        score_by_name=by_name,
    )
