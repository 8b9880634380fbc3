"""The doctor: what is wrong with a training or its pictures, how it knows, and what to do next."""

from glassnet.insight.doctor.diagnosis_page import write_examination
from glassnet.insight.doctor.examination import DIAGNOSES, Examination, examine

__all__ = ["DIAGNOSES", "Examination", "examine", "write_examination"]
