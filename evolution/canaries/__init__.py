"""Canaries carried out: rules, steps of the ladder, what one leaves behind."""
