"""The commands: one module per noun, the same operations as the menus."""
