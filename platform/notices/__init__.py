"""Messages to people outside: signed webhooks and e-mail."""
