"""How a run process tells its story: reports through a socket, small deltas put together."""

import os
import threading

import msgspec

from workers.agent.contract import Delta, Report
from workers.agent.link import frame

COALESCE_S = 0.015
MOST_WAITING_CHARS = 262_144
"""A model that is faster than its reader waits."""
READER_GONE = 1

_encode = msgspec.msgpack.Encoder().encode


class Reporter:
    """Sends reports in order.

    A delta goes out at once; those that follow within COALESCE_S go together. A thread sends
    them, because the provider may block for long with the last delta still unsent.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[str] = []
        self._waiting_chars = 0
        self._is_finished = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._send_deltas, name="reporter", daemon=True)
        self._thread.start()

    def delta(self, text: str) -> None:
        """Adds new text of the answer; waits while the reader is too far behind."""
        with self._changed:
            while self._waiting_chars > MOST_WAITING_CHARS:
                self._changed.wait()
            self._waiting.append(text)
            self._waiting_chars += len(text)
            self._changed.notify_all()

    def finish(self, last: Report) -> None:
        """Sends what is waiting, then `last`; nothing follows."""
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()
        self._thread.join()
        self._write(last)

    def _send_deltas(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_finished:
                    self._changed.wait()
                text, self._waiting, self._waiting_chars = "".join(self._waiting), [], 0
                is_last = self._is_finished
                self._changed.notify_all()
            if text:
                self._write(Delta(text))
            if is_last:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._is_finished, COALESCE_S)

    def _write(self, report: Report) -> None:
        left = memoryview(frame(_encode(report)))
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            # Nobody listens any more; whatever the provider is doing is for nobody.
            os._exit(READER_GONE)
