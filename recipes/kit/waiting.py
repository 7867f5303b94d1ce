"""Tells which processes are not reached, while a program waits for them: `python -m` this module.

A program of its own: while TensorFlow waits for the others, no Python runs beside it. It ends when
its standard input does, which is a pipe from the program that waits.
"""

import contextlib
import select
import socket
import subprocess
import sys

EVERY = 30  # seconds


@contextlib.contextmanager
def told(own, others, every=EVERY):
    """Within this context it is said on standard error, now and then, who is not reached.

    Args:
        own: String, the `host:port` of this process.
        others: List of strings, those of the others.
        every: Float, seconds.
    """
    command = [sys.executable, "-m", __name__, str(every), own, *others]
    teller = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        teller.stdin.close()
        teller.wait()


def not_reached(address):
    """Why nothing answers at an address `host:port`, or an empty string.

    >>> not_reached("no-such-host.invalid:1") != ""
    True
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def main(every, own, *others):
    """Tells of those that are not reached until standard input ends."""
    while not select.select([sys.stdin], [], [], float(every))[0]:
        for address in others:
            if reason := not_reached(address):
                print(f"{own}: {address} is not reached: {reason}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
