"""GET and POST /klaviyo/install, GET /klaviyo/callback, POST /klaviyo/confirm, GET /klaviyo/progress: a merchant's install."""

import functions_framework

from shared.installation.pages.policy import pages
from shared.installation.steps import ROUTES
from shared.services import Services
from shared.settings import TASKS, Needs

services = Services.from_environment(
    Needs.STORE | Needs.QUEUES | TASKS | Needs.KLAVIYO_APP | Needs.PUBLIC_URL, short_waits=3
)

install = functions_framework.http(pages("install", services, ROUTES))
