"""The rules, pure: no clock, no network, no environment. Whatever they need arrives as an argument."""
