"""What goes wrong, planted on purpose: each case says what the user reads and what is on disk then.

`python -m tests.faults` runs all of it and writes `docs/faults.md`; pytest runs the short form.
"""
