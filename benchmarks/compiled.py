"""Functions of layers, compiled in each way that the backend has."""

import functools
import sys

import keras

BACKEND = keras.backend.backend()


def modes():
    """How functions are compiled here: TensorFlow's plain graph and XLA, or JAX' jit."""
    return {"tensorflow": ("graph", "xla"), "jax": ("jit",)}[BACKEND]


@functools.cache
def set_up():
    """TensorFlow is measured on the CPU, JAX where it runs by itself."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
        tf.get_logger().setLevel("ERROR")  # it takes a function for each length for a mistake


@functools.cache
def is_on_gpu():
    if BACKEND != "jax":
        return False
    import jax

    return jax.default_backend() == "gpu"


def device_name():
    if not is_on_gpu():
        return "cpu"
    import jax

    return jax.devices()[0].device_kind


def dtype():
    """What is measured: what a GPU's matrix units are made for, or single precision."""
    return "bfloat16" if is_on_gpu() else "float32"


def item_size():
    return 2 if is_on_gpu() else 4


def forward(call, variables, trainable, mode):
    """A function from tensors to what `call` makes of them."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(call, jit_compile=mode == "xla", autograph=False)
    return _jitted(lambda values, *inputs: _stateless(call, variables, values, inputs), variables)


def training(call, variables, trainable, mode):
    """A function from tensors to the gradients by them and by the weights.

    What is differentiated is the mean square of the output: its own cost does not count.
    """

    def loss(*inputs):
        return keras.ops.mean(keras.ops.square(keras.ops.cast(call(*inputs), "float32")))

    if BACKEND == "tensorflow":
        import tensorflow as tf

        def step(*inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                value = loss(*inputs)
            return tape.gradient(value, (inputs, [weight.value for weight in trainable]))

        return tf.function(step, jit_compile=mode == "xla", autograph=False)

    import jax

    def value(inputs, values):
        return _stateless(loss, trainable, values, inputs)

    gradients = jax.grad(value, argnums=(0, 1))
    return _jitted(lambda values, *inputs: gradients(inputs, values), trainable)


WORKS = {"forward": forward, "training": training}


def _jitted(function, variables):
    import jax

    jitted, values = jax.jit(function), [variable.value for variable in variables]
    if is_on_gpu():
        return lambda *inputs: jitted(values, *inputs)
    # JAX may run two calls side by side on a CPU, which would be timed as one.
    return lambda *inputs: jax.block_until_ready(jitted(values, *inputs))


def _stateless(call, variables, values, inputs):
    pairs = list(zip(variables, values, strict=True))
    with keras.StatelessScope(state_mapping=pairs):
        return call(*inputs)


def finish(output):
    """Waits until the output is there."""
    if BACKEND == "jax":
        import jax

        jax.block_until_ready(output)
    torch = sys.modules.get("torch")
    if torch is not None and is_on_gpu() and torch.cuda.is_available():
        torch.cuda.synchronize()


def to_numpy(output):
    """The first tensor of an output, PyTorch's or the backend's, as a float32 array."""
    output = keras.tree.flatten(output)[0]
    if "torch" in sys.modules and hasattr(output, "detach"):
        return output.detach().float().cpu().numpy()
    return keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))


def tensor(array):
    """A float array as a tensor of the precision that is measured."""
    return keras.ops.convert_to_tensor(array, dtype=dtype())
