"""The Quantize page: the plan of a job, the jobs, and the verdict."""
