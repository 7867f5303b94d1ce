"""How processes find one another, and what they say where they do not."""

import json

import pytest

from recipes import recommendation, text_matching
from recipes.kit import fitting, processes
from recipes.kit.errors import UserError
from tests.recipes.command import call_recipe, one_line

CLUSTER = {"worker": ["one:12345", "two:12345"]}


@pytest.mark.parametrize(
    ("config", "pattern"),
    [
        ("nonsense", r"TF_CONFIG: expected JSON such as .*\. Received: nonsense"),
        ("[]", "TF_CONFIG: expected JSON such as"),
        ({"cluster": CLUSTER}, "TF_CONFIG: expected JSON such as"),
        ({"cluster": {"ps": ["a:1"]}, "task": {}}, '"chief" and "worker" as jobs. Received: ps'),
        ({"cluster": {"worker": "a:1"}, "task": {}}, 'a list of addresses as "worker"'),
        ({"cluster": {"worker": ["a"]}, "task": {}}, "expected addresses host:port. Received: a"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": {}}, "Received twice: a:1"),
        (
            {"cluster": CLUSTER, "task": {"type": "worker", "index": 2}},
            "one of: worker 0, worker 1. Received: worker 2",
        ),
        ({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}, "Received: chief 0"),
    ],
)
def test_a_wrong_tf_config_is_one_line(tmp_path, monkeypatch, capfd, config, pattern):
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    assert call_recipe(recommendation, "train", "--output", tmp_path / "out") == 2
    one_line(capfd, pattern)
    assert not list(tmp_path.iterdir())


def test_processes_of_one_machine_and_of_several_exclude_each_other(monkeypatch, capfd):
    config = {"cluster": CLUSTER, "task": {"type": "worker", "index": "1"}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert call_recipe(recommendation, "train", "--processes", 2) == 2
    one_line(capfd, "Received both")
    assert processes.read_cluster(json.dumps(config)).rank == 1


def test_a_cluster_of_one_is_no_group(monkeypatch):
    config = {"cluster": {"chief": ["one:1"]}, "task": {"type": "chief", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    processes.join(1)
    assert processes.group() is None and processes.is_first()
    assert processes.leave(7) == 7


def group_of(rank):
    group = object.__new__(processes.Group)  # as it is when all have come, but for the strategy
    group.rank, group.count, group.addresses, group._children = rank, 2, ("one:1", "two:2"), None
    return group


def test_what_differs_between_processes_is_named():
    same = {"--limit": "80", "data": "abc"}
    assert checked(same, same) is None
    assert "the same --limit in all processes. Received: another at two:2" in checked(
        same, same | {"--limit": "70"}
    )
    assert "the same data in all processes" in checked(same, same | {"data": "xyz"})


def checked(*facts):
    """The error, the same in both processes, for these facts of two; or `None`."""
    given, errors = [], []
    for is_known in (False, True):
        for rank in range(2):
            group = group_of(rank)
            group._sum_now = (
                (lambda arrays: [sum(given)])
                if is_known
                else (lambda arrays: given.append(arrays[0]) or arrays)
            )
            try:
                group.check_equal(facts[rank])
                errors.append(None)
            except UserError as error:
                errors.append(str(error))
    assert errors[2] == errors[3]
    return errors[3]


LOST = """Graph execution error:

Detected at node group_deps defined at (most recent call last): /job:worker/replica:0/task:0
Collective ops is aborted by: recvmsg:Connection reset by peer
Additional GRPC error information from remote target /job:worker/replica:0/task:1 while calling
"""


def test_a_lost_process_is_one_line_with_its_address():
    import tensorflow as tf

    line = "one:1 lost two:2, or it ended. Received: recvmsg:Connection reset by peer."
    expected = pytest.raises(UserError, match=f"^{line} The same command goes on after")
    with expected, group_of(0).together():
        raise tf.errors.UnavailableError(None, None, LOST)
    # A full disk has a line of its own.
    with pytest.raises(tf.errors.InternalError), group_of(0).together():
        raise tf.errors.InternalError(None, None, "a file; No space left on device")


def test_what_needs_a_single_process_says_so(monkeypatch):
    monkeypatch.setattr(processes, "_group", group_of(0))
    with pytest.raises(UserError, match=r"--minutes\) needs a single process. Received: 2"):
        fitting.warmup_cosine_by_time(0.1, minutes=1.0)
    with pytest.raises(UserError, match="--architecture encoder needs a single process"):
        text_matching.train(text_matching.Config(architecture="encoder"))
