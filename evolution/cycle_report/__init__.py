"""What a cycle tried, what won and what it cost, for people to read."""
