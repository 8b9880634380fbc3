"""Proofs and measurements: what glassnet claims about itself, checked."""
