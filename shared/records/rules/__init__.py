"""What a record is and what a refusal of it means. Pure: what the rules need arrives as an argument."""
