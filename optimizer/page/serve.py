"""The server of the page: on this machine alone, for whoever has its token, and with nothing from outside."""

import asyncio
import secrets
import socket
import webbrowser
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from nicegui import app, background_tasks, run, ui
from starlette.responses import FileResponse, PlainTextResponse, Response

from optimizer.page.app import Page
from optimizer.page.jobs import Queue
from optimizer.page.runs import found_runs
from optimizer.status import DISCLAIMER

HOST = "127.0.0.1"
_HEADERS = (
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
# The framework makes functions of text and styles in place; whatever is loaded comes from here.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' ws://{0}; frame-ancestors 'none'"
)


class Guarded:
    """An application that answers only who brings the token, once in the address and then in a cookie."""

    def __init__(self, inner: Any, token: str, name: str):
        self._inner, self._token, self._name = inner, token, name

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._inner(scope, receive, send)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        by_address = secrets.compare_digest(given.encode(), self._token.encode())
        if not by_address and not self._has_cookie(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                said = "403: wanted the address with its token, as adose page prints it; got one without.\n"
                await PlainTextResponse(said, 403)(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")

        async def answered(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_HEADERS]
                if not scope["path"].startswith("/run/"):
                    headers.append((b"content-security-policy", _POLICY.format(host).encode("latin-1")))
                if by_address:
                    cookie = f"{self._name}={self._token}; Path=/; HttpOnly; SameSite=Strict"
                    headers.append((b"set-cookie", cookie.encode()))
                message = {**message, "headers": headers}
            await send(message)

        await self._inner(scope, receive, answered)

    def _has_cookie(self, scope: Any) -> bool:
        try:
            cookies = SimpleCookie(dict(scope["headers"]).get(b"cookie", b"").decode("latin-1"))
        except CookieError:
            return False
        found = cookies.get(self._name)
        return found is not None and secrets.compare_digest(found.value.encode(), self._token.encode())


def _answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as asking:
        return asking.connect_ex((HOST, port)) == 0


def serve(file: Path | None, port: int, is_shown: bool, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        file: the scenario that it begins with; None where there is none yet.
        port: 0 for any that is free.
        is_shown: whether a browser is opened.
        say: where the address is told.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((HOST, port))
        port = tried.getsockname()[1]
    token, queue = secrets.token_urlsafe(24), Queue()
    address = f"http://{HOST}:{port}/?token={token}"

    async def begun() -> None:
        # The server listens only after it has told that it begins.
        background_tasks.create(listening())

    async def listening() -> None:
        while not await run.io_bound(_answers, port):
            await asyncio.sleep(0.05)
        say(f"{address}\nThe page is on this machine alone. Ctrl-C ends it. {DISCLAIMER}")
        if is_shown:
            webbrowser.open(address)

    @app.get("/run/{path:path}")
    def file_of_run(path: str) -> Response:
        """A file of a run directory that the page knows."""
        wanted = Path(path)
        if str(wanted.parent) not in found_runs(queue) or not wanted.is_file():
            return PlainTextResponse("404: wanted a file of a run directory\n", 404)
        return FileResponse(wanted)

    app.add_middleware(Guarded, token=token, name=f"adose-{port}")
    app.on_startup(begun)
    app.on_shutdown(queue.close)
    how: dict[str, Any] = {
        "reload": False,
        "show": False,
        "show_welcome_message": False,
        "dark": None,
        "tailwind": False,
    }
    ui.run(
        lambda: Page(file, queue).show(), host=HOST, port=port, title="adose", language="en-US", favicon=_ICON, **how
    )


_ICON = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'><circle cx='4' cy='4' r='3' fill='#0b5c8f'/></svg>"
