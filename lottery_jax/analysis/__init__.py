"""Numbers about tickets."""
