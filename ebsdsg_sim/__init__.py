"""Physics: crystal, scattering, Monte Carlo, master pattern and its projection on a detector."""
