"""What people look at, and what is kept."""
