"""The menus: what a person at a terminal is asked and shown."""
