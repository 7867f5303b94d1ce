"""Settings of all tests."""

import gc
import pathlib
import random

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

for _contract in ("tests.contract", "tests.recipes.contract", "tests.recipes.text_contract"):
    pytest.register_assert_rewrite(_contract)


TESTS_BETWEEN_FREEZES = 40
_tests_done = [0]
MOST_MEMORY_MAPS = 20_000  # Linux has 65,530

keras.utils.set_random_seed(7)

# Random cases (tests/fuzz): so many in all. JAX compiles each, which takes ten times as long.
_RANDOM_CASES = {
    "ci": {"tensorflow": 200, "jax": 40, "torch": 200},
    "fuzz": {"tensorflow": 3000, "jax": 500, "torch": 3000},
}
for _profile, _numbers in _RANDOM_CASES.items():
    settings.register_profile(
        _profile,
        max_examples=_numbers.get(keras.backend.backend(), 60),
        derandomize=_profile == "ci",
        print_blob=_profile == "fuzz",
        database=None,
        deadline=None,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=list(HealthCheck),
    )
settings.load_profile("ci")


def pytest_collection_modifyitems(items):
    """What takes long comes first, so that no process waits for the other one's last file."""
    items.sort(key=lambda item: item.path.parent.name not in ("recipes", "export"))
    if keras.backend.backend() == "torch":
        for item in filter(_is_about_compiled_code, items):
            item.add_marker(pytest.mark.skip(reason="XLA compiles for TensorFlow and JAX alone"))


def _is_about_compiled_code(item):
    given = item.callspec.params if hasattr(item, "callspec") else {}
    compiles = given.get("jit") or given.get("jit_compile") or given.get("how") in ("graph", "XLA")
    return compiles or any(word in item.name.lower() for word in ("xla", "compiled"))


if keras.backend.backend() == "torch":
    import torch

    # Tests compare outputs with arrays; PyTorch makes no array of what has a gradient.
    _to_array = torch.Tensor.__array__
    torch.Tensor.__array__ = lambda x, *args, **kwargs: _to_array(x.detach(), *args, **kwargs)


@pytest.fixture(autouse=True)
def _seeded():
    """Each test starts from the same random state and leaves no global precision behind."""
    # Layers take their seeds from Python. To seed TensorFlow as well forgets all its kernels, which
    # takes as long as a usual test.
    random.seed(7)
    np.random.seed(7)
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(autouse=True)
def _few_objects_to_collect():
    """Keras and TensorFlow collect garbage when they quantize or convert a model, and would walk
    each time over all that earlier tests have left alive: minutes in all.
    """
    yield
    _tests_done[0] += 1
    if _tests_done[0] % TESTS_BETWEEN_FREEZES == 0:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _without_the_programs_of_other_modules():
    """JAX keeps whatever it compiled, until a process has no memory maps left and crashes."""
    yield
    if keras.backend.backend() == "jax" and _memory_maps() > MOST_MEMORY_MAPS:
        import jax

        jax.clear_caches()


def _memory_maps():
    maps = pathlib.Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else MOST_MEMORY_MAPS + 1
