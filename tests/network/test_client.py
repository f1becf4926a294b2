"""What asks the agent, where the agent is none."""

from __future__ import annotations

import pytest

from network import client
from network.errors import NetworkError


def test_an_agent_that_is_gone_before_it_is_asked_is_an_error_of_the_network(home_dir: str) -> None:
    """Not a broken pipe, which a command takes for a reader that wants no more of its output."""
    with pytest.raises(NetworkError, match="the network agent died"):
        client.ask(f"{home_dir}/run", lambda _listener: None, do="leave")
    assert not client.is_there(f"{home_dir}/run")
