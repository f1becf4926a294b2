"""Networks of containers: bridges, addresses, what may pass between them, published ports, names.

    subnets, ports, rules    pure: which addresses, which ports, which rules of the firewall
    store                    the tables of networks, endpoints and published ports
    links, nft, names        what the kernel and other programs are told; only the agent loads them
    agent, client            one process that does it, on demand, and how a command asks it

What is decided stands in the database; what the kernel has follows from it and can be made anew at
any time. The veth pair of a container lives in the container's network namespace and goes with its
last process, so that a crash leaves no interface, no address and no namespace.

Nothing here knows of a container more than its id.
"""
