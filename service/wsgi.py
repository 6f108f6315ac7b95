"""WSGI entry point, for gthread and other servers: the same Flask application, without the hot lane.

gunicorn -c service/gunicorn_conf.py -k gthread --threads 8 service.wsgi:application
"""

import atexit
import functools
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.app import build_services, create_app, shut_down
from service.settings import load


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request; the first one in each worker wires it, so that nothing is shared over a fork."""
    return started()(environ, start_response)


@functools.cache
def started() -> WSGIApplication:
    """Return this worker's Flask application, following the store."""
    services = build_services(load())
    services.snapshots.start()
    atexit.register(shut_down, services)
    return create_app(services)
