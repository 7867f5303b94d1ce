"""Who is not reached, while others wait for them."""

import contextlib
import socket
import time

from recipes.kit import waiting


def test_tells_who_does_not_answer_until_it_is_over(capfd):
    with contextlib.closing(socket.create_server(("localhost", 0))) as server:
        answers = f"localhost:{server.getsockname()[1]}"
        with contextlib.closing(socket.socket()) as closed:
            closed.bind(("localhost", 0))
            silent = f"localhost:{closed.getsockname()[1]}"
        with waiting.told("host1:1", [answers, silent, "nohost.invalid:2"], every=0.2):
            until, told = time.monotonic() + 60, ""
            while told.count("nohost.invalid:2") < 2 and time.monotonic() < until:
                time.sleep(0.1)
                told += capfd.readouterr().err
    assert f"host1:1: {silent} is not reached: " in told
    assert told.count("host1:1: nohost.invalid:2 is not reached: ") >= 2
    assert f": {answers} is not reached" not in told
    time.sleep(0.5)
    assert capfd.readouterr().err.count("\n") <= 2  # what was said meanwhile
    time.sleep(0.5)
    assert capfd.readouterr().err == ""
