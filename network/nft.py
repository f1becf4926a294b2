"""libnftables in this process: JSON in, JSON out, one transaction for each call.

Only the agent loads it. A call takes a fraction of the time of a `nft` process, and it is the same
library. ``libnftables1`` comes with the package nftables.

Source: libnftables(3), libnftables-json(5).
"""

from __future__ import annotations

import ctypes
import json

from network.errors import NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIBRARY = "libnftables.so.1"
_OUTPUT_JSON = 1 << 4


class Nft:
    """One context of the library."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise NetworkError(
                "cannot set up the firewall", str(error), "install the package nftables"
            ) from None
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        for name in ("nft_ctx_get_error_buffer", "nft_ctx_get_output_buffer"):
            getattr(library, name).restype = ctypes.c_char_p
            getattr(library, name).argtypes = (ctypes.c_void_p,)
        for name in ("nft_ctx_buffer_error", "nft_ctx_buffer_output"):
            getattr(library, name).argtypes = (ctypes.c_void_p,)
        library.nft_ctx_output_set_flags.argtypes = (ctypes.c_void_p, ctypes.c_uint)
        self._library = library
        self._context = library.nft_ctx_new(0)
        library.nft_ctx_output_set_flags(self._context, _OUTPUT_JSON)
        library.nft_ctx_buffer_error(self._context)
        library.nft_ctx_buffer_output(self._context)

    def run(self, commands: list[dict[str, Any]]) -> dict[str, Any]:
        """Performs commands, all or none; what they print. NetworkError."""
        text = json.dumps({"nftables": commands})
        failed = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        said = (self._library.nft_ctx_get_error_buffer(self._context) or b"").decode()
        output = (self._library.nft_ctx_get_output_buffer(self._context) or b"").decode()
        if failed:
            lines = [line for line in said.splitlines() if "rror:" in line] or ["no reason given"]
            raise NetworkError("cannot set up the firewall", lines[0].partition("rror: ")[2])
        return json.loads(output) if output.strip() else {}
