"""Holds a report against docs/report.md: every member is documented and of the type that is said, and every documented member is there.

usage: schema.py docs/report.md [all] <REPORT

With `all`, members that are there only at times have to be there at least once, too. Prints the number of members seen.
"""
import json
import re
import sys


def documented(lines):
    """By list (`` for the report itself): the tables' rows, as path and type, and whether it is always there."""
    tables, current = {"": {}}, ""
    for line in lines:
        if head := re.fullmatch(r"Each of `(\w+)`:", line):
            current = head[1]
            tables[current] = {}
        elif row := re.fullmatch(r"\| `([\w.]+)` \| ([\w ]+) \|(.*)\|", line):
            tables[current][row[1]] = (row[2], "only" not in row[3])
    return tables


def is_count(value):
    return type(value) is int and value >= 0


CHECKS = {
    "text": lambda value: type(value) is str,
    "count": is_count,
    "number": lambda value: type(value) in (int, float) and value >= 0,
    "boolean": lambda value: type(value) is bool,
    "object": lambda value: type(value) is dict,
    "null": lambda value: value is None,
    "list of text": lambda value: type(value) is list and all(type(one) is str for one in value),
    "list of counts": lambda value: type(value) is list and all(map(is_count, value)),
    "list of objects": lambda value: type(value) is list and all(type(one) is dict for one in value),
    "counts by text": lambda value: type(value) is dict and all(map(is_count, value.values())),
}


def check(table, value, where, seen, parent=""):
    """Each member of an object, and of the objects in it."""
    for name, member in value.items():
        path = parent + name
        if path not in table:
            sys.exit(f"{where}: {path} is not documented")
        kind = table[path][0]
        if not any(CHECKS[one](member) for one in kind.split(" or ")):
            sys.exit(f"{where}: {path} is no {kind}: {member!r}")
        seen.add((where, path))
        if type(member) is dict and kind.startswith("object"):
            check(table, member, where, seen, path + ".")
    for path, (_, is_always) in table.items():
        holder, _, name = path.rpartition(".")
        if holder + "." * bool(holder) == parent and is_always and name not in value:
            sys.exit(f"{where}: {path} is missing")


def main():
    with open(sys.argv[1], encoding="utf-8") as page:
        tables = documented(page.read().splitlines())
    report, seen = json.load(sys.stdin), set()
    check(tables[""], report, "", seen)
    for name, table in tables.items():
        for one in report[name] if name else []:
            check(table, one, name, seen)
    unseen = [(name, path) for name, table in tables.items() for path in table if (name, path) not in seen]
    if unseen and sys.argv[2:] == ["all"]:
        sys.exit(f"not in the report: {unseen}")
    print(len(seen))


main()
