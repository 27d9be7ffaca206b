"""The web worker: serves HTTP for the front, and asks over the bus like any client."""

from collections.abc import Mapping

from bus.rpc import Bound
from workers.runtime import Service, Worker
from workers.web import app
from workers.web.listener import Listener
from workers.web.pages import Pages
from workers.web.runs import TOPIC, Runs


class Web:
    """The web worker's part in the runtime."""

    def __init__(self) -> None:
        self._listener: Listener
        self._runs: Runs

    @property
    def topics(self) -> tuple[str, ...]:
        """Events of runs, while somebody follows one."""
        return self._runs.topics

    async def start(self, worker: Worker) -> Mapping[str, Bound]:
        """Reads the pages and listens."""
        self._runs = Runs(worker)
        pages = app.build(Pages(), app.api_routes(worker, self._runs))
        self._listener = Listener(pages, worker.paths.web_socket)
        await self._listener.open()
        worker.log.info("serving http", socket=str(worker.paths.web_socket))
        return {}

    def on_event(self, topic: str, payload: bytes) -> None:
        """News of a run."""
        if topic == TOPIC:
            self._runs.on_event(payload)

    async def drain(self) -> None:
        """Answers what was asked; the next process listens at the same path."""
        await self._listener.drain()

    async def stop(self) -> None:
        """Ends the runs whose clients are about to be lost, and lets go of the socket."""
        await self._runs.stop()
        self._listener.close()


def build() -> Service:
    """The service `python -m workers web` runs."""
    return Web()
