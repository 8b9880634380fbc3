"""The doctor: checks of a run and its images that report faults, the evidence for them, and what to do next."""

from glassnet.doctor.check import CheckResult
from glassnet.doctor.checkup import CHECKS, diagnose
from glassnet.doctor.page import write_doctor_report
from glassnet.doctor.remedy import Remedy
from glassnet.doctor.report import CheckOutcome, DoctorReport

__all__ = ["CHECKS", "CheckOutcome", "CheckResult", "DoctorReport", "Remedy", "diagnose", "write_doctor_report"]
