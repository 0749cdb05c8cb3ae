"""The process that a submission's code runs in, and what stands around it. Knows no exercise."""
