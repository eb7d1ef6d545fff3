# SPDX-License-Identifier: MIT
"""An application on the Microdot framework from PyPI: routes, JSON, an error handler; serves until Ctrl-C.

Environment: PORT (80).
"""

import asyncio
import os

from microdot import Microdot

app = Microdot()
_visits: dict = {}  # name -> how often greeted


@app.get("/")
async def index(request: object) -> tuple:
    return "Microdot, frozen into an image. Try /hello/YOU\n", 200, {"Content-Type": "text/plain; charset=utf-8"}


@app.get("/hello/<name>")
async def hello(request: object, name: str) -> dict:
    if name in _visits or len(_visits) < 1000:
        _visits[name] = _visits.get(name, 0) + 1
    return {"hello": name, "visits": _visits.get(name, 1)}


@app.post("/sum")
async def total(request: object) -> object:
    numbers = request.json
    if not isinstance(numbers, list) or not all(isinstance(n, (int, float)) for n in numbers):
        return {"error": "expected a JSON list of numbers"}, 422
    return {"sum": sum(numbers)}


@app.get("/divide/<int:a>/<int:b>")
async def divide(request: object, a: int, b: int) -> dict:
    return {"quotient": a // b}


@app.errorhandler(404)
async def not_found(request: object) -> tuple:
    return {"error": "not found", "path": request.path}, 404


@app.errorhandler(ZeroDivisionError)
async def divided_by_zero(request: object, exc: Exception) -> tuple:
    return {"error": "division by zero"}, 400


async def main() -> None:
    port = int(os.getenv("PORT") or 80)
    server = asyncio.create_task(app.start_server(host="0.0.0.0", port=port))
    while not app.server and not server.done():  # it says nothing when it listens
        await asyncio.sleep(0)
    if app.server:
        print("serving on port %d" % port)
    await server


try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("stopped")
