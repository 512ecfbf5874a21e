"""A user that learns to choose: which of the offered items would this user take next?"""
