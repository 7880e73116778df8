"""The form of a record, and the meaning of a refusal. Pure: the rules get everything that they need as arguments."""
