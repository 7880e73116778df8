"""The notifications in `notifications.md`, one section each, written from the catalogue in deploy/targets.

The text around them is written by hand.
"""

import json
from pathlib import Path

from deploy.targets.catalogue import EXTENSION, Notification, notification, notifications, platform

PAGE = Path(__file__).with_name("notifications.md")
BEGIN = "<!-- The sections below are written from the catalogue: python -m deploy.guide -->"
END = "<!-- The end of the written sections -->"


def with_sections(page: str) -> str:
    """Return the page with the sections between its two comments written anew.

    Raises:
        ValueError: a comment is missing.
    """
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"notifications.md needs these two lines around its sections: {BEGIN} and {END}")
    sections = "\n\n".join(_section(notification(name)) for name in notifications())
    return f"{before}{BEGIN}\n\n{sections}\n\n{END}{after}"


def _section(asked: Notification) -> str:
    klaviyo = platform(EXTENSION)
    query = f"?{asked.query}" if asked.query else ""
    condition = json.dumps(asked.condition(klaviyo))
    started = (
        f"Trigger `{asked.trigger}`, with the filter below, then `target.send` with the handle"
        if asked.trigger
        else (f"No reaction. What starts it: {asked.schedule}")
    )
    rows = (
        ("Name", f"{klaviyo.title}: {asked.title}"),
        ("Handle", f"`klaviyo-{asked.name}`"),
        ("URL", f"`https://EXTENSION/acme/api/v1/targets/klaviyo/metric{query}`"),
        ("Headers", "none: Omneo signs the call"),
        (
            "Body",
            f"`python -m deploy.targets render klaviyo {asked.name}` shows what it becomes; the template is `deploy/targets/klaviyo/{asked.name}.json.twig`",
        ),
        ("Reaction", started),
        ("Klaviyo: flow trigger", f"metric `{asked.metric}`"),
        ("Klaviyo: filters", "; ".join(asked.filters)),
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""### {asked.title}

| Field | Value |
|---|---|
{table}

The condition of the target, and the filter of the reaction:

```json
{condition}
```

In the message:

```
{asked.snippet}
```

{" ".join(asked.says.split())}"""
