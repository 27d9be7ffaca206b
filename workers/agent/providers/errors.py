"""How a provider says that it cannot answer."""


class ProviderError(Exception):
    """The text is one sentence or two for the person who asked: what, where, what to do."""
