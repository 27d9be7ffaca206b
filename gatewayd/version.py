"""The version of this gatewayd, as its distribution says."""

from importlib import metadata


def version() -> str:
    """Installed version, or `dev` in a tree that was never installed."""
    try:
        return metadata.version("gatewayd")
    except metadata.PackageNotFoundError:
        return "dev"
