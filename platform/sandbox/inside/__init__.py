"""What runs in the child: it gives up its rights one by one, and then runs the program.

Nothing but the standard library is imported here, and everything before the rights are gone.
"""
