"""Many devices report to one place: what takes their messages there, and figures on how well that goes."""
