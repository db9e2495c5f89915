"""``python -m ebsdsg_flows`` is the command ``ebsdsg``."""

from ebsdsg_flows.cli import main

main()
