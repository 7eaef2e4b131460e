"""The same service under plain uvicorn, without BentoML. Settings are those of service/start.py.

uvicorn service.http.app:app --workers 2 --http service.http.connections:BoundedConnection
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service import memory, start, workers
from service.http import access
from service.http.routes import build_app, surrounded

memory.bound()


@asynccontextmanager
async def _working(app: FastAPI) -> AsyncIterator[None]:
    start.work(app)
    yield
    workers.leave()


app = surrounded(build_app(_working), start.or_exit(access.from_environment))
