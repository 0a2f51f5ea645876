#!/usr/bin/env python3
"""Cancel the jobs that are left when Snakemake ends."""

import batch

if __name__ == "__main__":
    batch.guard(batch.system())
