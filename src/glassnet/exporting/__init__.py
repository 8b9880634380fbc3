"""Trained networks in the formats of other programs: ONNX."""

from glassnet.exporting.onnx_export import Export, export
from glassnet.exporting.verification import Verification

__all__ = ["Export", "Verification", "export"]
