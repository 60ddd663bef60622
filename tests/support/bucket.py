"""An S3 server of its own on the loopback, without login, that lives as long as a test needs it."""

from contextlib import contextmanager

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "reader-and-writer",
    "AWS_SECRET_ACCESS_KEY": "secret/of+the+bucket",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",  # without credentials nobody else is asked for some
}


@contextmanager
def bucket_server():
    """Yields the address of a fresh server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()
