"""The web worker: serves HTTP for the front; it knows no client of the WebSocket."""

from collections.abc import Mapping

from bus.rpc import Bound
from workers.runtime import Service, Worker
from workers.web import app
from workers.web.listener import Listener
from workers.web.pages import Pages


class Web:
    """The web worker's part in the runtime."""

    topics: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._listener: Listener

    async def start(self, worker: Worker) -> Mapping[str, Bound]:
        """Reads the pages and listens."""
        self._listener = Listener(app.build(Pages()), worker.paths.web_socket)
        await self._listener.open()
        worker.log.info("serving http", socket=str(worker.paths.web_socket))
        return {}

    def on_event(self, topic: str, payload: bytes) -> None:
        """Nothing is subscribed."""

    async def drain(self) -> None:
        """Answers what was asked; the next process listens at the same path."""
        await self._listener.drain()

    async def stop(self) -> None:
        """Lets go of the socket."""
        self._listener.close()


def build() -> Service:
    """The service `python -m workers web` runs."""
    return Web()
