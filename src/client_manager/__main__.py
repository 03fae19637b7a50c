"""Run the console as ``python -m client_manager``."""

from client_manager.cli import main

main()
