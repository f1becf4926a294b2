"""Questions and answers of the domain name system as bytes; no sockets here.

Whoever sends these bytes is hostile. What is no plain question is refused before the library sees
more of it than the name: one question, no other records but EDNS, and never more than fits into one
packet. So no message costs more than another, and none makes the library load a module for it.

Source: RFC 1035, RFC 6891 (EDNS), RFC 7766 (TCP), RFC 9619 (one question); dnspython.
"""

from __future__ import annotations

import struct

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.PTR  # which would be looked for when they are first needed
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.reversename
import dns.rrset

from kernel.record import Record
from network import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 1232  # bytes of a question: what passes every network unfragmented, and far too much
LONGEST_ANSWER = 65535
_PLAIN = 512  # bytes of an answer over UDP to who does not say more
_MOST = 4096  # bytes of an answer to who says more: it stays on this machine
_PAYLOAD = 1232  # what we say of ourselves
_TTL = 5  # seconds: a restarted container may have another address
_HEADER = struct.Struct("!HHHHHH")
_EDNS = b"\0\0\x29"  # the root's name, type OPT
_QR, _TC, _RD, _RA = 0x8000, 0x0200, 0x0100, 0x0080
_RETRY_ELSEWHERE = (dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED)


class Refused(Exception):
    """A packet that is not worth a look; ``answer`` is what to say to it, b"" for nothing."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__("refused")
        self.answer = answer


class Query(Record):
    """A question: as it came, as the library reads it, and what of it must come back."""

    wire: bytes
    message: dns.message.Message
    question: bytes  # name, type, class as on the wire

    @property
    def number(self) -> int:
        """Its id."""
        return int(self.message.id)

    @property
    def kind(self) -> int:
        """The type that is asked for."""
        return int(self.message.question[0].rdtype)

    @property
    def name(self) -> str:
        """The name without its last dot; "" if it is none that a container can have."""
        labels = self.message.question[0].name.labels[:-1]
        if not labels or any(b"." in one or not one.isascii() for one in labels):
            return ""
        return b".".join(labels).decode("ascii")

    @property
    def address(self) -> str:
        """The address whose name is asked for (PTR); "" if it is none."""
        if self.kind != dns.rdatatype.PTR:
            return ""
        try:
            return dns.reversename.to_address(self.message.question[0].name)
        except (dns.exception.DNSException, ValueError):
            return ""

    @property
    def limit(self) -> int:
        """How many bytes of an answer are taken over UDP."""
        said = self.message.payload if self.message.edns >= 0 else _PLAIN
        return min(max(said, _PLAIN), _MOST)


def read(wire: bytes) -> Query:
    """The question of a packet. Refused, and nothing else, for every other one."""
    if len(wire) < _HEADER.size:
        raise Refused
    number, flags, *counts = _HEADER.unpack_from(wire)
    if flags & _QR:
        raise Refused  # an answer to an answer would go on for ever
    if len(wire) > LONGEST:
        raise Refused(_bare(number, flags, dns.rcode.FORMERR))
    if (flags >> 11) & 15 != dns.opcode.QUERY:
        raise Refused(_bare(number, flags, dns.rcode.NOTIMP))
    end = _question_end(wire)
    rest = wire[end:]
    if counts not in ([1, 0, 0, 0], [1, 0, 0, 1]) or end < 0 or bool(rest) != bool(counts[3]):
        raise Refused(_bare(number, flags, dns.rcode.FORMERR))
    if rest and not rest.startswith(_EDNS):
        raise Refused(_bare(number, flags, dns.rcode.FORMERR))
    try:
        message = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        raise Refused(_bare(number, flags, dns.rcode.FORMERR)) from None
    query = Query(wire, message, wire[_HEADER.size : end])
    if message.edns > 0:
        raise Refused(failed(query, dns.rcode.BADVERS))
    (asked,) = message.question
    if asked.rdclass != dns.rdataclass.IN or query.kind in (
        dns.rdatatype.AXFR,
        dns.rdatatype.IXFR,
        dns.rdatatype.MAILA,
        dns.rdatatype.MAILB,
    ):
        raise Refused(failed(query, dns.rcode.REFUSED))
    return query


def _question_end(wire: bytes) -> int:
    """Where the first question ends; -1 if it does not, or its name points elsewhere."""
    at = _HEADER.size
    while at < len(wire) and wire[at]:
        if wire[at] > 63:  # the first name can only point into the header
            return -1
        at += 1 + wire[at]
    at += 5
    return at if at <= len(wire) else -1


def _bare(number: int, flags: int, code: int) -> bytes:
    """An answer without a question, to what could not be read."""
    kept = flags & (0x7800 | _RD)
    return _HEADER.pack(number, _QR | _RA | kept | code, 0, 0, 0, 0)


# -- answers -------------------------------------------------------------------------------


def addresses(query: Query, found: Iterable[str], limit: int = LONGEST_ANSWER) -> bytes:
    """The answer to a name of ours: those of its addresses that are asked for, maybe none."""
    kind = dns.rdatatype.RdataType(query.kind)
    family = {dns.rdatatype.A: False, dns.rdatatype.AAAA: True}.get(kind)
    return _answered(query, [one for one in found if subnets.is_v6(one) is family], limit)


def pointer(query: Query, name: str) -> bytes:
    """The answer to an address of ours; NXDOMAIN for a name that cannot be written."""
    try:
        return _answered(query, [f"{name}."], LONGEST_ANSWER)
    except dns.exception.DNSException:  # longer than a name can be
        return failed(query, dns.rcode.NXDOMAIN)


def _answered(query: Query, words: list[str], limit: int) -> bytes:
    """``words`` are the data of records of the type that was asked for."""
    made = _response(query)
    made.flags |= dns.flags.AA
    if words:
        asked = query.message.question[0]
        found = dns.rrset.from_text_list(asked.name, _TTL, asked.rdclass, asked.rdtype, words)
        made.answer.append(found)
    try:
        return made.to_wire(max_size=limit)
    except dns.exception.TooBig:
        return truncated(query)


def failed(query: Query, code: int) -> bytes:
    """An answer that only says why there is none."""
    made = _response(query)
    made.set_rcode(dns.rcode.Rcode(code))
    return made.to_wire()


def truncated(query: Query) -> bytes:
    """An answer that says: ask again over TCP."""
    made = _response(query)
    made.flags |= dns.flags.TC
    return made.to_wire()


def _response(query: Query) -> dns.message.Message:
    return dns.message.make_response(query.message, True, _PAYLOAD, pad=0)


# -- what is passed on ---------------------------------------------------------------------


def renumbered(wire: bytes, number: int) -> bytes:
    """The same message under another id."""
    return number.to_bytes(2) + wire[2:]


def is_answer(query: Query, number: int, wire: bytes) -> bool:
    """Whether a packet from a resolver is the answer to a question that we asked as ``number``.

    The question has to come back as well, unless the resolver could not make sense of it.
    """
    if len(wire) < _HEADER.size:
        return False
    said, flags, questions, *_ = _HEADER.unpack_from(wire)
    if said != number or not flags & _QR:
        return False
    if not questions:
        return int(flags) & 15 != 0
    own: bytes = query.question.lower()
    return wire[_HEADER.size : _HEADER.size + len(own)].lower() == own


def is_worth_another(wire: bytes) -> bool:
    """Whether an answer says only that this resolver cannot help."""
    return wire[3] & 15 in _RETRY_ELSEWHERE
