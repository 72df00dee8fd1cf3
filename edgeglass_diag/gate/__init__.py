"""What stands between findings and a pipeline: SARIF files, baselines of what is known, and what fails."""
