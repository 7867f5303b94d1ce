"""Several processes, on one machine or on many, that train one model together.

Each runs the same command. `join` makes them one group before TensorFlow is used: `--processes N`
starts the others on this machine, or `TF_CONFIG` names them all. `recipes.kit.sharding` is what a
training does with them, by the collective operations of TensorFlow's multi-worker strategy; they
end when it ends, and the first goes on alone.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from recipes.kit import waiting
from recipes.kit.errors import UserError, says_disk_full

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
_STARTED_BY_US = "RECIPES_PROCESS_STARTED"  # set where `--processes` has started this program
_group = None


def group():
    """The `Group` that this program is one of, or `None` if it trains alone."""
    return _group


def is_first():
    """Whether this program is the one that evaluates and writes: it is alone, or the first."""
    return _group is None or _group.rank == 0


def need_one(what):
    """Raises a `UserError` if several processes train together, which `what` cannot."""
    if _group is not None:
        raise UserError(f"{what} needs a single process. Received: {_group.count}")


def join(processes):
    """Makes this program one of a group, if it is to be; to be called before TensorFlow is used.

    Args:
        processes: Integer, how many to run on this machine; with 1 `TF_CONFIG` decides.

    Raises:
        UserError: If `TF_CONFIG` is wrong, or the others are not reached.
    """
    global _group
    config, is_child = os.environ.get("TF_CONFIG"), _STARTED_BY_US in os.environ
    if config and processes > 1 and not is_child:
        raise UserError(
            "Expected --processes, for this machine, or TF_CONFIG, for several. Received both"
        )
    if is_child:
        threading.Thread(target=_end_with_the_first, daemon=True).start()
    if config:
        cluster = read_cluster(config)
        if len(cluster.addresses) > 1:
            name = cluster.addresses[cluster.rank]
            count = len(cluster.addresses)
            print(f"{name}: waiting for {count} processes to come together", flush=True)
            others = [address for address in cluster.addresses if address != name]
            with waiting.told(name, others):
                _group = Group(cluster)
    elif processes > 1:
        cluster = Cluster(_free_addresses(processes), 0)
        print(f"{processes} processes on this machine train together")
        with _Children(cluster) as children:
            _group = Group(cluster, children)


def leave(code):
    """Ends the program with an exit code if it is one of a group; else returns the code.

    The libraries would wait for processes that have ended, or were killed.
    """
    if _group is not None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of a training.

    Attributes:
        addresses: Tuple of strings, the `host:port` of each; the first is the one that writes.
        rank: Integer, which of them this one is.
    """

    addresses: tuple
    rank: int


def read_cluster(text):
    """The cluster that a `TF_CONFIG` describes.

    >>> read_cluster(
    ...     '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, '
    ...     '"task": {"type": "worker", "index": 0}}'
    ... )
    Cluster(addresses=('a:1', 'b:1'), rank=1)

    Raises:
        UserError: If it is not one of chief and workers, or does not name one of them.
    """
    try:
        config = json.loads(text)
    except ValueError:
        config = None
    jobs, task = (
        config.get(name) if isinstance(config, dict) else None for name in ("cluster", "task")
    )
    if not (isinstance(jobs, dict) and isinstance(task, dict) and jobs):
        raise UserError(f"TF_CONFIG: expected JSON such as {_EXAMPLE}. Received: {text}")
    if others := sorted(jobs.keys() - {"chief", "worker"}):
        raise UserError(f'TF_CONFIG: expected "chief" and "worker" as jobs. Received: {others[0]}')
    names, addresses = [], []
    for job in ("chief", "worker"):
        listed = jobs.get(job, [])
        if not isinstance(listed, list):
            raise UserError(
                f'TF_CONFIG: expected a list of addresses as "{job}". Received: {listed}'
            )
        names += [(job, str(index)) for index in range(len(listed))]
        addresses += listed
    for address in addresses:
        if not (isinstance(address, str) and re.fullmatch(r"\S+:\d+", address)):
            raise UserError(f"TF_CONFIG: expected addresses host:port. Received: {address}")
        if addresses.count(address) > 1:
            raise UserError(f"TF_CONFIG: expected an address once. Received twice: {address}")
    name = task.get("type"), str(task.get("index"))
    if name not in names:
        known = ", ".join(" ".join(name) for name in names)
        raise UserError(
            f"TF_CONFIG: expected as task one of: {known}. Received: {name[0]} {name[1]}"
        )
    return Cluster(tuple(addresses), names.index(name))


class Group:
    """The processes, once all of them have come.

    Attributes:
        addresses, rank: As of the `Cluster`.
        count: Integer, how many they are.
    """

    def __init__(self, cluster, children=None):
        import tensorflow as tf

        self.addresses, self.rank = cluster.addresses, cluster.rank
        self.count = len(cluster.addresses)
        self._children = children
        _choose_gpu(cluster)
        # To wait for the others is done in C++, where Python does not see Ctrl-C.
        on_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy(
                tf.distribute.cluster_resolver.SimpleClusterResolver(
                    tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
                    task_type="worker",
                    task_id=cluster.rank,
                    rpc_layer="grpc",
                )
            )
        except tf.errors.OpError as error:
            name, reason = cluster.addresses[cluster.rank], str(error).splitlines()[0]
            raise UserError(
                f"{name} cannot join the other processes. Received: {reason}"
            ) from error
        finally:
            signal.signal(signal.SIGINT, on_interrupt)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which the library would wait at
        self._sum = tf.function(lambda *tensors: self.sum(tensors), autograph=False)

    @contextlib.contextmanager
    def together(self):
        """Within this context what goes wrong between the processes is a `UserError`."""
        import tensorflow as tf

        lost = tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError
        lost += tf.errors.DeadlineExceededError, tf.errors.InternalError
        try:
            yield
        except lost as error:
            if says_disk_full(error):
                raise
            what = self._children and self._children.what_ended(5)
            what = what or self._what_is_said(str(error))
            raise UserError(
                f"{what} The same command goes on after the last whole epoch"
            ) from error

    def _what_is_said(self, message):
        """What an error of TensorFlow says, without its graph."""
        tasks = map(int, re.findall(r"/job:worker/replica:0/task:(\d+)", message))
        others = [self.addresses[task] for task in tasks if task != self.rank] or ["the others"]
        said = message.partition("aborted by: ")[2] or message
        reason = said.strip().partition("\n")[0][:200].rstrip(" .:")
        return f"{self.addresses[self.rank]} lost {others[0]}, or it ended. Received: {reason}."

    def rows(self, count):
        """Of `count` rows, an integer or tensor, the first of this process and that after its last.

        >>> import types
        >>> [Group.rows(types.SimpleNamespace(rank=rank, count=2), 5) for rank in (0, 1)]
        [(0, 2), (2, 5)]
        """
        return count * self.rank // self.count, count * (self.rank + 1) // self.count

    def sum(self, tensors):
        """The sums over all processes of tensors that each has; in a traced function.

        Args:
            tensors: List of tensors of one dtype, or `tf.IndexedSlices`.
        """
        import tensorflow as tf

        def sum_of_replicas(*tensors):
            here = [tf.identity(x) for x in tensors]  # on the device of the collectives
            return tf.distribute.get_replica_context().all_reduce("SUM", here)

        return self._strategy.run(sum_of_replicas, args=tuple(tensors))

    def of_first(self, arrays):
        """What the first process has as arrays of numbers, in every process.

        Args:
            arrays: List of NumPy arrays, of equal shapes and dtypes everywhere.
        """
        import numpy as np

        # A sum with nothing but zeros is exact. Unsigned numbers have no collectives.
        numbers = [np.asarray(x) for x in arrays]
        numbers = [x if x.dtype.kind == "f" else x.astype("int64") for x in numbers]
        given = numbers if self.rank == 0 else [np.zeros_like(x) for x in numbers]
        found = [None] * len(given)
        for dtype in sorted({str(x.dtype) for x in given}):
            places = [place for place, x in enumerate(given) if x.dtype == dtype]
            sums = self._sum_now([given[place] for place in places])
            for place, x in zip(places, sums, strict=True):
                found[place] = x
        return found

    def _sum_now(self, arrays):
        import tensorflow as tf

        with self.together():
            return [x.numpy() for x in self._sum(*map(tf.constant, arrays))]

    def check_equal(self, facts):
        """Raises a `UserError` in every process if one has other facts than the first.

        Args:
            facts: Dict, what they must have alike to a string that tells it.
        """
        import numpy as np

        digests = [hashlib.sha256(fact.encode()).digest()[:8] for fact in facts.values()]
        own = np.zeros((self.count, len(facts)), "int64")
        own[self.rank] = np.frombuffer(b"".join(digests), "int64")
        all_facts = self._sum_now([own])[0]
        for address, others in zip(self.addresses, all_facts, strict=True):
            for name, is_equal in zip(facts, others == all_facts[0], strict=True):
                if not is_equal:
                    raise UserError(
                        f"Expected the same {name} in all processes. Received: another at "
                        f"{address} than at {self.addresses[0]}"
                    )


def _choose_gpu(cluster):
    """Leaves this process one GPU, where there are any: that of its rank on its machine."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus or (len(gpus) == 1 and "CUDA_VISIBLE_DEVICES" in os.environ):
        return  # the second: somebody has chosen
    hosts = [address.rpartition(":")[0] for address in cluster.addresses]
    host = hosts[cluster.rank]
    if hosts.count(host) > len(gpus):
        raise UserError(
            f"Expected at most as many processes on {host} as it has GPUs, {len(gpus)}. "
            f"Received: {hosts.count(host)}"
        )
    tf.config.set_visible_devices(gpus[hosts[: cluster.rank].count(host)], "GPU")


def _free_addresses(count):
    """So many addresses of this machine at which nothing listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return tuple(f"localhost:{one.getsockname()[1]}" for one in sockets)


class _Children:
    """The other processes of this machine; within its context the program ends if one does."""

    def __init__(self, cluster):
        self._started = []
        for rank in range(1, len(cluster.addresses)):
            task = {"type": "worker", "index": rank}
            config = {"cluster": {"worker": cluster.addresses}, "task": task}
            errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (as long as the child)
            child = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                env=os.environ | {"TF_CONFIG": json.dumps(config), _STARTED_BY_US: "1"},
                stdin=subprocess.PIPE,  # which closes when this program ends, however it does
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the first, and the others end with it
            )
            self._started.append((child, errors))
        self._is_waiting = True

    def __enter__(self):
        # Python does not run while the first waits for the others, in C++.
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._is_waiting = False

    def _watch(self):
        while self._is_waiting:
            if what := self.what_ended():
                print(f"Error: {what}", file=sys.stderr, flush=True)
                os._exit(2)
            time.sleep(0.5)

    def what_ended(self, seconds=0):
        """What is to be said of a process that failed, within some seconds; or an empty string."""
        until = time.monotonic() + seconds
        while True:
            for rank, (child, errors) in enumerate(self._started, start=1):
                if code := child.poll():
                    errors.seek(0)
                    lines = [line for line in errors.read().splitlines() if line.strip()]
                    how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
                    said = f": {lines[-1]}" if lines else ""
                    return f"Process {rank} of {1 + len(self._started)} {how}{said}."
            if time.monotonic() >= until:
                return ""
            time.sleep(0.1)


def _end_with_the_first():
    sys.stdin.buffer.read()
    os._exit(2)
