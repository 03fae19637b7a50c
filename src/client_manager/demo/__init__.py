"""The demo: the console's own commands, typed in a throw-away place, and each proven by a look of its own."""
