"""Measures this checkout against Flask-Migrate; see ``python -m benchmarks --help`` and README.rst."""
