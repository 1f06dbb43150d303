"""From labelled footage of any common format to checked, split and sharded training data."""
