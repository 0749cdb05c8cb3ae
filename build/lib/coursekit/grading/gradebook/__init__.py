"""What an instructor runs: grading, reports, marks for prose, the audit of the exercises."""
