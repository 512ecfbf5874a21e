"""What the business gets: held-out and simulated users, the credit of agents."""
