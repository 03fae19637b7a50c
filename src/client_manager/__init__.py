"""The operator's console for many Open WebUI tenants on Docker hosts."""
