"""`python -m deploy.guide`: write the parts of the guide that follow from the code."""

from deploy.guide import assumptions, notifications, settings

if __name__ == "__main__":
    for page, written in (
        (settings.PAGE, settings.with_table),
        (notifications.PAGE, notifications.with_sections),
        (assumptions.PAGE, assumptions.with_tables),
    ):
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"{page.name} is written.")
