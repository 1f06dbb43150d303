"""How good tracks and distances are, measured against ground truth with positions on the ground."""
