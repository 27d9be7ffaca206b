"""A WebSocket echo server on the front's own engine, for the Autobahn testsuite."""

import argparse
import asyncio

import uvloop

from gatewayd.front.head import BadHead, Head, refusal, scan
from gatewayd.front.websocket import WebSocket, frame_text

MAX_SIZE_BYTES = 64 * 1024 * 1024  # the suite's largest message has 16 MiB


class Echo(asyncio.Protocol):
    """Sends every message back, as text when it is UTF-8 and as binary when it is not.

    The engine does not tell text from binary (the gateway protocol takes both as JSON), so this
    server listens to the frame heads itself, see `_Kinds`.
    """

    def __init__(self, *, fast: bool) -> None:
        self.socket = WebSocket(MAX_SIZE_BYTES, fast=fast)
        self.head: bytearray | None = bytearray()
        self.kinds = _Kinds()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.head is not None:
            data = self._handshake(self.head, data)
        if self.head is not None:
            return
        self.kinds.feed(data)
        replies = [_frame(self.kinds.pop(), message) for message in self.socket.feed(data)]
        # Pongs before what is answered to the messages; a close frame after it.
        output = self.socket.take_output()
        parts = [output, *replies] if self.socket.open else [*replies, output]
        self.transport.write(b"".join(parts))
        if self.socket.must_close_transport:
            self.transport.close()

    def eof_received(self) -> None:
        self.socket.feed_eof()
        self.transport.write(self.socket.take_output())

    def _handshake(self, buffer: bytearray, data: bytes) -> bytes:
        """Answer the head once it is complete; what followed it."""
        buffer += data
        head = scan(bytes(buffer))
        if isinstance(head, BadHead):
            self.transport.write(refusal(head.status, head.reason))
            self.transport.close()
        if not isinstance(head, Head):
            return b""
        self.transport.write(self.socket.accept(bytes(buffer[: head.end])))
        self.head = None
        return bytes(buffer[head.end :])


class _Kinds:
    """The opcodes of the data messages in a client's byte stream, read from frame heads alone."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.skip = 0
        self.kinds: list[int] = []

    def pop(self) -> int:
        return self.kinds.pop(0)

    def feed(self, data: bytes) -> None:
        self.buffer += data
        while True:
            dropped = min(self.skip, len(self.buffer))
            del self.buffer[:dropped]
            self.skip -= dropped
            if self.skip or len(self.buffer) < 2:
                return
            length = self.buffer[1] & 0x7F
            head = 2 if length < 126 else 4 if length == 126 else 10
            if len(self.buffer) < head:
                return
            if length >= 126:
                length = int.from_bytes(self.buffer[2:head])
            if (opcode := self.buffer[0] & 0x0F) in (1, 2):
                self.kinds.append(opcode)
            self.skip = head + (4 if self.buffer[1] & 0x80 else 0) + length


def _frame(opcode: int, message: bytes) -> bytes:
    frame = frame_text(message)
    return frame if opcode == 1 else bytes((0x80 | opcode,)) + frame[1:]


async def serve(port: int, *, fast: bool) -> None:
    """Serve on 127.0.0.1 until killed; the port is printed once it accepts."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(fast=fast), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--no-fast-path", dest="fast", action="store_false")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, fast=arguments.fast))
