"""The doctor: what is wrong with a training or its images, how it knows, and what to do next."""

from glassnet.doctor.diagnose import DIAGNOSES, Examination, examine
from glassnet.doctor.page import write_examination

__all__ = ["DIAGNOSES", "Examination", "examine", "write_examination"]
