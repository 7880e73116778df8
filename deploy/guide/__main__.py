"""`python -m deploy.guide`: write the parts of the guide that follow from the code."""

from deploy.guide.settings import PAGE, with_table

if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE.name} is written.")
