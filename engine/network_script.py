"""`--explain=sh`: the network of a container by hand, with ip(8).

What the agent does over netlink, as lines of a shell script. The rules of the firewall are not in
it: they are the network's, not the container's, and `nft list ruleset` shows them while one runs.
"""

from __future__ import annotations

from network import client, host, options, subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home
    from network.store import Endpoint


class Script:
    """``before`` are the lines, ``path`` the namespace that they make, ``after`` undoes it."""

    def __init__(self, home: Home, container: Container) -> None:
        name = f"pyctr-{container.id[:8]}"
        self.path = f"/run/netns/{name}"
        self.after = f"ip netns delete {name}"
        lines = [
            "# the network: a namespace with one end of a veth pair for each network, the other in",
            "# the network's bridge; without the firewall's rules there is no way further out",
            "# [ip-netns(8), ip-link(8), veth(4)]",
            f"ip netns add {name}",
            f"ip -n {name} link set lo up",
        ]
        for one in _with_addresses(home, container):
            lines += _lines(name, one, client.mark(home.run))
        self.before = (*lines, "")


def _with_addresses(home: Home, container: Container) -> tuple[Endpoint, ...]:
    """Its endpoints with the addresses that it would be given now."""
    store = home.networks
    there = store.endpoints(container.id)
    if any(one.mac for one in there):
        return there
    found = store.allocate(container.id)
    store.release(container.id)
    return found


def _lines(name: str, one: Endpoint, mark: str) -> list[str]:
    own, bridge = one.network, one.network.bridge
    mtu = own.options.get(options.MTU) or host.uplink_mtu()
    gateways = [
        (f"{gateway}/{subnet.partition('/')[2]}", gateway, address)
        for gateway, subnet, address in (
            (own.gateway, own.subnet, one.address), (own.gateway6, own.subnet6, one.address6),
        )
        if subnet
    ]  # fmt: skip
    made = [f"ip link show {bridge} >/dev/null 2>&1 || ip link add {bridge} type bridge"]
    made += [f"ip addr replace {with_bits} dev {bridge}" for with_bits, _, _ in gateways]
    made += [
        f"ip link set {bridge} alias {mark!r} up",
        f"ip link add veth{one.id[:8]} mtu {mtu} type veth peer name {one.interface} mtu {mtu}"
        f" address {one.mac} netns {name}",
        f"ip link set veth{one.id[:8]} master {bridge} up",
    ]
    for with_bits, _, address in gateways:
        flag = " nodad" if subnets.is_v6(address) else ""
        bits = with_bits.partition("/")[2]
        made.append(f"ip -n {name} addr add {address}/{bits} dev {one.interface}{flag}")
    made.append(f"ip -n {name} link set {one.interface} addrgenmode none up")
    if not own.internal:
        made += [
            f"ip -n {name} route replace default via {gateway} dev {one.interface}"
            for _, gateway, _ in gateways
        ]
    return made
