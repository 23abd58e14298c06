"""Runs a client's checks and prints a line for each: its name, a tab, and ok or the error."""

import sys
import time
import traceback


class Unsupported(Exception):
    """The client can't do this."""


def run(checks):
    for name, check in checks:
        try:
            check()
            print(f"{name}\tok", flush=True)
        except Unsupported:
            print(f"{name}\tunsupported", flush=True)
        except Exception as e:  # noqa: BLE001 - any error is the check's result
            traceback.print_exc(file=sys.stderr)
            print(f"{name}\terror {type(e).__name__}: {e}".replace("\n", " "), flush=True)


def expect(have, want, what):
    if have != want:
        raise AssertionError(f"{what}: have {have!r}, want {want!r}")


def until(condition, what, seconds=20):
    end = time.time() + seconds
    while not condition():
        if time.time() > end:
            raise AssertionError(f"{what}: not after {seconds} s")


PARTITIONS = 3
VALUES = [f"v{i}".encode() for i in range(60)]
