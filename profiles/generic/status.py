#!/usr/bin/env python3
"""Print running, success or failed for the id of a job."""

import sys

import batch

if __name__ == "__main__":
    print(batch.status(batch.system(), sys.argv[-1]))
