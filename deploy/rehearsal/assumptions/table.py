"""All assumptions that the product rests on, in the order in which they are tried and shown. Those of the sandbox alone are in `sandbox.py`."""

from collections.abc import Mapping

from deploy.rehearsal.assumption import Assumption
from deploy.rehearsal.assumptions.elsewhere import BROWSERS, GOOGLE
from deploy.rehearsal.assumptions.klaviyo import KLAVIYO
from deploy.rehearsal.assumptions.omneo import OMNEO

ASSUMPTIONS: tuple[Assumption, ...] = (*OMNEO, *KLAVIYO, *BROWSERS, *GOOGLE)
BY_NAME: Mapping[str, Assumption] = {row.name: row for row in ASSUMPTIONS}
