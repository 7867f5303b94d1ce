"""Processes that find one another; with real ones, some of which are killed."""

import json

import pytest

from recipes import recommendation
from recipes.kit import processes
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
