"""Person re-identification for the NAIC competitions: from label lists to a submission."""

__version__ = "0.1.0"
