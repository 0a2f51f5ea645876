"""Graft's version, which seals, packs and exported models record."""

VERSION = "0.1.0"
