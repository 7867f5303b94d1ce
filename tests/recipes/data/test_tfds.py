"""Data sets of TensorFlow Datasets; what is read of them is tested with the recipes' data."""

import threading
import time

from recipes.data import tfds


def test_reachability_is_answered_in_time(monkeypatch):
    answer = threading.Event()

    def hang(url, timeout):
        answer.wait()
        raise OSError("no route to host")

    monkeypatch.setattr(tfds.urllib.request, "urlopen", hang)
    start = time.monotonic()
    assert not tfds.is_reachable("http://example.com", seconds=0.1)
    assert time.monotonic() - start < 2
    answer.set()


def test_a_server_that_refuses_is_reachable(monkeypatch):
    def refuse(url, timeout):
        raise tfds.urllib.error.HTTPError(url, 403, "Forbidden", {}, None)

    monkeypatch.setattr(tfds.urllib.request, "urlopen", refuse)
    assert tfds.is_reachable("http://example.com")
