"""What watches for signals; tests/e2e/test_fault_signals.py sends them to commands."""

import os
import signal
import socket
import threading
import time

from pipeline.stopping import stoppable


def test_a_default_timeout_of_sockets_does_not_end_the_watcher():
    before = socket.getdefaulttimeout()
    # Beam sets one of 60 s where it asks Google for credentials.
    socket.setdefaulttimeout(0.01)
    stopped, by = threading.Event(), []
    try:
        with stoppable(lambda number, _: (by.append(number), stopped.set())):
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopped.wait(10)
    finally:
        socket.setdefaulttimeout(before)
    assert by == [signal.SIGTERM]
