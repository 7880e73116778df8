"""`python -m deploy.openapi`: write shared/admin/openapi.json, which `GET /openapi.json` answers, from the rows beside this file."""

from deploy.openapi.document import FILE, text

if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"{FILE.name} is written.")
