"""A test of the project's own."""


def test_own() -> None:
    assert "small".islower()
