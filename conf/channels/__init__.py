"""Settings of the channels, one module per channel, each with a `Settings` struct."""

import importlib
import pkgutil

from conf.schema import Section


def channel_settings() -> dict[str, type[Section]]:
    """The settings struct of every channel we have, by channel name."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}").Settings for name in names}
