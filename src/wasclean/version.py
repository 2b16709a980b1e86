"""The version. It also stands in pyproject.toml; a test compares them."""

__version__ = "0.1.0"
