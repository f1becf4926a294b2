"""Says how often it has been visited. The count is kept in /webapp, which is a volume.

PORT chooses the port; 5000 if it is not set.
"""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

COUNT = "/webapp/visits"


def visit() -> int:
    """One more visit; the file is whole or as before."""
    try:
        with open(COUNT) as file:
            count = int(file.read())
    except FileNotFoundError:
        count = 0
    with open(f"{COUNT}.new", "w") as file:
        file.write(f"{count + 1}\n")
    os.rename(f"{COUNT}.new", COUNT)
    return count + 1


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = f"Hello! You are visitor {visit()}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    HTTPServer(("", int(os.environ.get("PORT", "5000"))), Page).serve_forever()
