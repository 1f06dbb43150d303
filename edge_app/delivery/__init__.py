"""Messages to others: what is in them, the outbox in which they wait, and the ways in which they leave."""
