"""gatewayctl devices against a real front: the owner of the machine decides."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from gatewayd.ctl import cli
from tests.kit.device import Device
from tests.kit.front import TOKEN, FrontProcess, running


@pytest.fixture(scope="module")
def alone() -> Iterator[FrontProcess]:
    with running() as front:
        yield front


def ctl(front: FrontProcess, *arguments: str) -> Result:
    url = f"ws://127.0.0.1:{front.port}"
    return CliRunner().invoke(cli, ["--url", url, "--token", TOKEN, "devices", *arguments])


def asking(front: FrontProcess) -> tuple[Device, str]:
    """A remote device that waits for approval."""
    wire, answer = (device := Device()).knock(front.port, TOKEN, remote=True)
    wire.close()
    return device, answer["error"]["details"]["requestId"]


def test_a_device_is_listed_approved_rotated_and_revoked(alone: FrontProcess):
    assert "No device waits" in ctl(alone, "list").output
    device, request = asking(alone)
    listing = ctl(alone, "list").output
    assert request in listing
    assert device.id[:12] in listing
    assert f"device {device.id}" in ctl(alone, "approve", request).output
    wire, answer = device.knock(alone.port, TOKEN, remote=True)
    with wire:
        former = answer["payload"]["auth"]["deviceToken"]
        rotated = ctl(alone, "rotate", device.id[:10], "--scope", "operator.read", "--json")
        result = json.loads(rotated.output)
        assert result["scopes"] == ["operator.read"]
        assert result["token"] != former
        assert wire.closed().reason == "device token revoked"
    assert "Revoked" in ctl(alone, "revoke", device.id[:10]).output
    assert "operator revoked" in ctl(alone, "list").output


def test_the_one_that_waits_need_not_be_named(alone: FrontProcess):
    device, _ = asking(alone)
    assert device.id in ctl(alone, "reject").output
    result = ctl(alone, "approve")
    assert result.exit_code == 2
    assert "0 devices wait" in result.output


def test_without_a_secret_one_is_told_to_give_it(alone: FrontProcess):
    arguments = ["--url", f"ws://127.0.0.1:{alone.port}", "devices", "list"]
    assert "give --token or --password" in str(CliRunner().invoke(cli, arguments).exception)


def test_what_is_not_there_is_told(alone: FrontProcess):
    for arguments, text in (
        (("approve", "none"), "unknown requestId"), (("revoke", "none"), "unknown deviceId/role"),
    ):  # fmt: skip
        result = ctl(alone, *arguments)
        assert result.exit_code != 0
        assert text in str(result.exception)
