"""HTTP in: the policies that hold every status, authentication, and bodies. The only room that knows Flask."""
