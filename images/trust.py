"""Which registry is whose it says it is: TLS, its authorities, and who may do without.

Authorities are those of the system (OpenSSL's, so that SSL_CERT_FILE and SSL_CERT_DIR count), and
for one registry those that lie beside its name, as Docker has them::

    /etc/pyctr/certs.d/<host:port>/*.crt     authorities
    /etc/pyctr/certs.d/<host:port>/*.cert    a certificate of ours, with its key in <name>.key
    /etc/docker/certs.d/<host:port>/         the same, for hosts that have them for Docker

Plain HTTP is for loopback addresses and for the registries that a person named as insecure; only
the latter need no valid certificate either.

Source: Docker's documentation, "Verify repository client with certificates"; openssl(1),
"SSL_CERT_FILE".
"""

from __future__ import annotations

import os
import ssl

from images.errors import ImageError

FOLDERS = ("/etc/pyctr/certs.d", "/etc/docker/certs.d")


def context(host: str, *, insecure: bool) -> ssl.SSLContext:
    """What TLS with a registry is checked by. ImageError for a file that is no certificate."""
    made = ssl.create_default_context()
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for folder in (f"{top}/{host}" for top in FOLDERS):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            own = f"{folder}/{name}"
            try:
                if name.endswith(".crt"):
                    made.load_verify_locations(own)
                elif name.endswith(".cert"):
                    made.load_cert_chain(own, own.removesuffix(".cert") + ".key")
            except (OSError, ssl.SSLError) as error:
                raise ImageError("a certificate cannot be used", str(error), path=own) from None
    return made


def is_loopback(host: str) -> bool:
    """Whether a host name with an optional port is this machine's own, whatever resolves names."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    name = name.strip("[]")
    if name in ("localhost", "::1"):
        return True
    words = name.split(".")
    return len(words) == 4 and words[0] == "127" and all(word.isdigit() for word in words)
