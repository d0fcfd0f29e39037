"""One client connection: reads requests, lets the routes answer them and sends the replies, or spoils them."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import routing
from .body import Body
from .errors import HubError
from .faults import Fault, Faults, FullDisk
from .hub import Hub
from .wire import Reply, Request, json_reply

_BLOCK = 1 << 18
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with zero seconds: closing sends RST instead of FIN


@dataclass
class LoggedRequest:
    """A request that the server saw.

    Attributes:
        method: HTTP method.
        path: Path and query.
        status: Status of the reply; 0 when none was sent.
        received: Bytes of the request body.
        sent: Bytes of the reply body.
        user: User of the token, None for an anonymous request.
        fault: Kind of the fault that spoilt it, if any.
    """

    method: str
    path: str
    status: int = 0
    received: int = 0
    sent: int = 0
    user: str | None = None
    fault: str | None = None


class RequestLog:
    """The requests seen so far.

    Args:
        watch: Called with each request once it is done.
    """

    def __init__(self, watch: Callable[[LoggedRequest], None] | None) -> None:
        self.rows: list[LoggedRequest] = []
        self.watch = watch


class Listener(ThreadingHTTPServer):
    """A listening socket with all connections it accepted.

    Args:
        port: Port of 127.0.0.1, 0 for any free one.
        hub: State to serve.
        faults: What to spoil.
        log: Where to note each request.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, hub: Hub, faults: Faults, log: RequestLog) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.hub = hub
        self.faults = faults
        self.log = log
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it, without the usual FIN beforehand: it would hide a reset."""
        self._open.discard(request)
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a bug of the server, but not that a client went away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Stop listening and end all connections, also those that clients keep for later requests."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # it ended by itself
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "LocalHub"
    disable_nagle_algorithm = True
    server: Listener

    def _exchange(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = Body(self.rfile, headers)  # type: ignore[arg-type]
        endpoint = f"http://{headers.get('host', '127.0.0.1')}"
        request = Request(self.command, self.path, headers, body, endpoint)
        fault = self.server.faults.match(self.command, self.path)
        row = LoggedRequest(self.command, self.path, fault=fault.kind if fault else None)
        try:
            self._serve(request, body, row, fault)
        except ConnectionError:
            self.close_connection = True
        finally:
            row.received = body.received
            if self.server.log.watch:
                self.server.log.watch(row)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _exchange

    def _serve(self, request: Request, body: Body, row: LoggedRequest, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        if fault and kind == "stall":
            self.server.log.rows.append(row)
            self.server.closing.wait()
            self.close_connection = True
            return
        if fault and kind == "drop_request":
            self.server.log.rows.append(row)
            while body.received < fault.after and body.read(min(_BLOCK, fault.after - body.received)):
                pass
            self._reset()
            return
        if fault and kind == "disk_full":
            request.stream = FullDisk(body, fault.after)
        reply = _spoilt(fault) or self._answer(request, fault)
        body.drain()
        row.status, row.user, row.received = reply.status, request.who.name, body.received
        # Noted before the client can see the reply, so that a test that got it finds the request in the log.
        self.server.log.rows.append(row)
        self._send(reply, row, fault if kind in ("drop_reply", "truncate") else None)

    def _answer(self, request: Request, fault: Fault | None) -> Reply:
        try:
            return routing.answer(self.server.hub, request)
        except HubError as error:
            headers = {"X-Error-Message": error.message.replace("\n", " "), **error.headers}
            if error.code:
                headers["X-Error-Code"] = error.code
            return json_reply({"error": error.message, **error.body}, error.status, headers)
        except ConnectionError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                return json_reply({"error": "No space left on device"}, (fault and fault.status) or 507)
            traceback.print_exc()
            return json_reply({"error": f"Internal error: {error!r}"}, 500)

    def _send(self, reply: Reply, row: LoggedRequest, fault: Fault | None) -> None:
        length = reply.length if reply.path else len(reply.data)
        self.send_response(reply.status)
        for name, value in {**reply.headers, "X-Request-Id": uuid.uuid4().hex}.items():
            self.send_header(name, value.encode("ascii", "replace").decode())
        self.send_header("Content-Length", str(length))
        self.end_headers()
        room = min(fault.after, max(length - 1, 0)) if fault else length
        if self.command != "HEAD":
            for block in _blocks(reply, room):
                self.wfile.write(block)
                row.sent += len(block)
        if fault and fault.kind == "drop_reply":
            self._reset()
        elif fault:
            self.close_connection = True

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the request log has it."""


def _spoilt(fault: Fault | None) -> Reply | None:
    """Return the reply that a fault sends in place of the real one."""
    if fault and fault.kind == "status":
        return Reply(fault.status or 503, fault.body, dict(fault.headers))
    if fault and fault.kind == "invalid_json":
        return Reply(200, fault.body or b"<html>Bad Gateway</html>", {"Content-Type": "application/json"})
    return None


def _blocks(reply: Reply, size: int) -> Iterator[bytes]:
    """Yield the first bytes of a reply's body."""
    if reply.path is None:
        yield reply.data[:size]
        return
    with reply.path.open("rb") as file:
        file.seek(reply.start)
        while size > 0 and (block := file.read(min(_BLOCK, size))):
            size -= len(block)
            yield block
