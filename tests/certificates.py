"""A certificate authority of a test's own, and what it signs, made with openssl(1)."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def run(*argv: str, stdin: bytes = b"") -> bytes:
    """openssl with these arguments; what it writes."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: run scripts/setup dev")
    ran = subprocess.run(["openssl", *argv], input=stdin, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


class Authority:
    """``folder/ca.crt`` and whatever :meth:`sign` makes beside it."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder)
        self.folder = folder
        self.certificate = f"{folder}/ca.crt"
        run(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-subj", "/CN=test-ca",
            "-keyout", f"{folder}/ca.key", "-out", self.certificate,
        )  # fmt: skip

    def sign(self, name: str, address: str = "") -> tuple[str, str]:
        """(certificate, key) for a name; with an address it is one of a server there."""
        certificate, key = f"{self.folder}/{name}.crt", f"{self.folder}/{name}.key"
        asked = run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key)
        extensions = f"{self.folder}/{name}.ext"
        with open(extensions, "w") as file:
            file.write(f"subjectAltName=IP:{address}\n" if address else "keyUsage=digitalSignature")
        run(
            "x509", "-req", "-days", "3", "-CA", self.certificate, "-CAkey",
            f"{self.folder}/ca.key", "-CAcreateserial", "-extfile", extensions,
            "-out", certificate, stdin=asked,
        )  # fmt: skip
        return certificate, key
