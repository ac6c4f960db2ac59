"""Certificates, and TLS in front of a server that speaks none itself."""

import subprocess
from contextlib import contextmanager

from support.programs import command


def make_certificate(folder):
    """Make a certificate for localhost that is its own CA; return its path and that of its key."""
    certificate, key = folder / "ca.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@contextmanager
def tls_before(port, certificate, key):
    """Speak TLS in front of the server at `port`; yields the URI.

    The server itself need not be able to: one for Windows, under wine, isn't.
    """
    program = command("speak_tls", str(port), certificate, key)
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"mongodb://127.0.0.1:{int(process.stdout.readline())}/?directConnection=true"
        finally:
            process.kill()
