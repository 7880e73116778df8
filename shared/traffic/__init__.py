"""How much of each tenant's went which way: counted in every call, told as numbers and in words."""
