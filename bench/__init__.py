"""The gateway side by side with its peers, in one run. `python -m bench`; figures are ratios, never a timed test."""
