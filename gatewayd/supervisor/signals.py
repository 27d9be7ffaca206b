"""Signals as bytes in a pipe: they wake the main loop, and none is handled in between."""

import os
import signal

WAKING_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class SignalPipe:
    """The signals that arrived and were not taken yet."""

    def __init__(self) -> None:
        self.descriptor, self._write = os.pipe()
        """Readable when there are some."""
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._write, False)

    def catch(self) -> None:
        """From now on the signals above end here."""
        for number in WAKING_SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def take(self) -> list[int]:
        """Signal numbers in the order they arrived."""
        try:
            return list(os.read(self.descriptor, 4096))
        except BlockingIOError:
            return []
