"""The sync-node containers of this machine."""
