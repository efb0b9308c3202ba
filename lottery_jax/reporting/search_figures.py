"""Figures of genetic searches."""
def of_strong_tickets(results):
    """stub"""
    return {}
