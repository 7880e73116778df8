"""What the extension does, one file a thing. Everything a handler works with arrives as an argument."""
