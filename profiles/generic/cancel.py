#!/usr/bin/env python3
"""Cancel the jobs with these ids."""

import sys

import batch

if __name__ == "__main__":
    sys.exit(batch.cancel(batch.system(), sys.argv[1:]))
