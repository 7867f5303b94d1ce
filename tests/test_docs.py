"""The documents' Python that needs no trained recipe, and their jobs for clusters."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from recipes.kit.processes import read_cluster
from tests.backend import needs_tensorflow
from tests.documents import ROOT, run_blocks


def test_the_example_of_the_contract_holds():
    assert run_blocks(ROOT / "docs" / "contract.md")["weights"].shape == (2, 3, 5)


@needs_tensorflow  # JAX gives the same, but compiles all of it anew
def test_choose_a_layer_runs():
    names = run_blocks(ROOT / "docs" / "choose.md")
    assert names["tokens"].shape == (2, 20) and names["found"].shape == (2, 1, 10)
    assert names["shares"].shape == (2, 6, 9)


def test_the_first_page_runs():
    assert run_blocks(ROOT / "docs" / "index.md")["weights"].shape == (1, 4)


@pytest.mark.slow
@needs_tensorflow  # the same on JAX, which compiles all of it anew
def test_a_true_and_a_false_map_are_told_apart():
    names = run_blocks(ROOT / "docs" / "explanations.md")
    assert names["report"].verdict == "no"
    assert "probability" in names["page"]


@pytest.mark.slow
def test_abcnn_beats_the_same_network_without_attention():
    accuracy = run_blocks(ROOT / "docs" / "abcnn.md")["accuracy"]
    assert accuracy["ABCNN-3"] > 0.8
    assert accuracy["ABCNN-3"] > accuracy["without attention"] + 0.2


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_loss_scale_of_the_documents_sees_every_occurrence_of_a_token(jit_compile):
    """Two texts of the same tokens: the first has a gradient past float16, the second has none."""
    checked = run_blocks(ROOT / "docs" / "performance.md")["CheckedLossScale"]
    keras.utils.set_random_seed(0)
    ids, target = np.array([[1, 2], [1, 2]]), np.array([[100.0], [0.0]])
    model = keras.Sequential(
        [
            keras.layers.Embedding(5, 4, dtype="mixed_float16"),
            keras.layers.GlobalAveragePooling1D(dtype="mixed_float16"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(checked(keras.optimizers.Adam()), "mse", jit_compile=jit_compile)
    model.fit(ids, target, epochs=12, verbose=0, shuffle=False)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert float(model.optimizer.dynamic_scale) < 2**15


SEVERAL_MACHINES = ROOT / "docs" / "several_machines.md"
# What stands in for programs of a cluster; `python` prints what it would be told.
STAND_INS = {
    "python": 'echo "$TF_CONFIG"; echo "$@"',
    "scontrol": 'test "$3" = "node[1-2]" && printf "node1\\nnode2\\n"',
    "srun": 'shift; for rank in 0 1; do SLURM_PROCID=$rank "$@" || exit; done',
}


@pytest.fixture
def run_script(tmp_path):
    """A function that runs a script of bash, with variables, and returns the lines it prints."""
    for name, script in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)

    def run(script, **variables):
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=os.environ | {"PATH": path, "HOME": "/home/me"} | variables,
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def of_several_machines(language, start):
    """The one block of a language on the page of several machines that begins so."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", SEVERAL_MACHINES.read_text(), re.M | re.S)
    (block,) = (block for block in blocks if block.startswith(start))
    return block


@needs_tensorflow
def test_the_commands_of_two_machines_make_a_cluster(run_script):
    script = of_several_machines("bash", "export TF_CONFIG")
    for rank in range(2):
        *config, command = run_script(script.replace('"index": 0', f'"index": {rank}'))
        cluster = read_cluster("\n".join(config))
        assert (cluster.addresses, cluster.rank) == (("host1:12345", "host2:12345"), rank)
        assert command.startswith("-m recipes.recommendation train")


@needs_tensorflow
def test_the_slurm_job_makes_a_cluster(run_script):
    script = of_several_machines("bash", "#!/bin/bash")
    first, command, second, other = run_script(script, SLURM_JOB_NODELIST="node[1-2]")
    assert command == other
    assert command == "-m recipes.recommendation train --data /home/me/data --output /home/me/model"
    for rank, config in enumerate((first, second)):
        cluster = read_cluster(config)
        assert (cluster.addresses, cluster.rank) == (("node1:12345", "node2:12345"), rank)


@needs_tensorflow
def test_the_kubernetes_job_makes_a_cluster_of_its_pods(run_script):
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all(of_several_machines("yaml", "apiVersion"))
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    pods, name = job["spec"]["template"]["spec"], job["metadata"]["name"]
    (container,) = pods["containers"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert pods["subdomain"] == service["metadata"]["name"]
    assert container["command"] == ["bash", "-c"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pods["volumes"]}
    count, port = job["spec"]["completions"], container["ports"][0]["containerPort"]
    for rank in range(count):
        config, command = run_script(container["args"][0], JOB_COMPLETION_INDEX=str(rank))
        cluster = read_cluster(config)
        expected = [f"{name}-{n}.{service['metadata']['name']}:{port}" for n in range(count)]
        assert (list(cluster.addresses), cluster.rank) == (expected, rank)
        assert command == "-m recipes.recommendation train --data /disk/data --output /disk/model"


@needs_tensorflow  # which starts a process of JAX
def test_a_model_is_cut_over_two_devices():
    pytest.importorskip("jax")
    code = f"""
import pathlib
from tests.documents import run_blocks
names = run_blocks(pathlib.Path({str(SEVERAL_MACHINES)!r}))
print(len(names["devices"]), *names["history"]["loss"])
"""
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    *cut, last = done.stdout.splitlines()
    count, *losses = map(float, last.split())
    assert count == 2 and losses[-1] < losses[0]
    assert "pieces/embeddings (50, 16) of which a device holds (50, 8)" in cut
    heads = [line for line in cut if line.startswith("block_")]
    assert len(heads) == 12 and all("of which a device holds" in line for line in heads)
    assert sum(line.endswith("(16, 2, 4)") for line in heads) == 6
    assert sum(line.endswith("(2, 4, 16)") for line in heads) == 2
    assert sum(line.endswith("(16, 16)") for line in heads) == 4
