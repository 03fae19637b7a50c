"""The operator's console for many Open WebUI tenants on Docker hosts."""

__version__ = "0.1.0"
