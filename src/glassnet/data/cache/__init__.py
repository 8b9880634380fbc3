"""Scans and decoded images of large sources, kept on disk, so that each file is read and decoded once."""
