"""Adapters to the machine itself: its clock, its randomness, its cores. Everything that is not storage."""
