#!/bin/sh
# Made from graft.lock by `make lock`; do not edit.
# What asks for other versions than the pinned ones (`override-dependencies` in pyproject.toml).
set -e
python -m pip install --no-input --no-deps --require-hashes --requirement /dev/stdin <<'END'
facenet-pytorch==2.6.0 \
    --hash=sha256:ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca
END
