"""Jobs and flows that join physics, learning and the stores; command line and campaigns."""
