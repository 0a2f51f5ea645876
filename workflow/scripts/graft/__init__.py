"""Graft's library: pure functions and small classes for transfer learning on images.

Nothing in here knows of Snakemake; the scripts beside this package are the adapters.
"""

__version__ = "0.1.0"
