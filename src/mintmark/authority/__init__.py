"""The authority: what it issues, to whom, until when, and what it takes back. Pure, or on ports (``ports.py``)."""
