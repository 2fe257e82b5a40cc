"""Which folders are measured, when, and what that may cost; and what a root may still take of its own budget."""
