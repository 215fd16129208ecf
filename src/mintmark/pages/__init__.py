"""The HTML edge: what a person sees of the authority. Rendered here, usable without script."""
