"""The values that a part of a template sees while it is rendered: the variables, the budget and the time."""

from dataclasses import dataclass, field

from deploy.local.sandbox.omneo.twig.budget import Budget
from deploy.local.sandbox.omneo.twig.php import Array


@dataclass
class Scope:
    """The variables by name, the remaining budget, and the time in Unix seconds."""

    variables: Array
    now: float
    budget: Budget = field(default_factory=Budget)
