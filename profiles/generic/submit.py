#!/usr/bin/env python3
"""Submit a job script of Snakemake and print the job's id."""

import sys
from pathlib import Path

import batch

if __name__ == "__main__":
    print(batch.submit(batch.system(), Path(sys.argv[-1])))
