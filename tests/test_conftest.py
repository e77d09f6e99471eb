import socket

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def guarded(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> pytest.Pytester:
    pytester.makeconftest(request.config.rootpath.joinpath("tests/conftest.py").read_text())
    return pytester


def test_a_hidden_connection_fails_the_test(guarded):
    guarded.makepyfile(
        """
        import contextlib, socket

        def test_by_address():
            with socket.socket() as client, contextlib.suppress(OSError):
                client.connect(("192.0.2.1", 80))

        def test_by_name():
            with contextlib.suppress(OSError):
                socket.create_connection(("example.invalid", 80))
        """
    )
    result = guarded.runpytest_inprocess("-p", "no:xdist", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=2)


def test_the_environment_does_not_leak(guarded):
    guarded.makepyfile(
        """
        import os

        def test_changes():
            os.environ["XRJ_LEAK"] = "1"
            os.environ.pop("PATH")

        def test_sees_nothing():
            assert "XRJ_LEAK" not in os.environ
            assert os.environ["PATH"]
            assert os.environ["WANDB_MODE"] == "offline"
        """
    )
    result = guarded.runpytest_inprocess("-p", "no:xdist", "-p", "no:randomly")
    result.assert_outcomes(passed=2)


def test_loopback_works():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()
