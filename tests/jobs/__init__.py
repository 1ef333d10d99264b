"""Tests of jobs: real child processes, real LMDeploy on the demo checkpoint."""
