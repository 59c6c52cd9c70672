"""What all studies share: jobs, rows, claims, statistics and pages."""
