"""Which test produces which code: every line of the code table that belongs to sending must be
made by a test somewhere, and docs/codes.md must say by which. produced.py SOURCE [--write]: with
it, the page is written anew.

It reads what the tests expect: `= N STEP CODE` of scenarios and transcripts, `made CODE STAGE` and
`hikyaku: CODE` of shell scripts. What no test can make yet stands in WAITING with its reason.
"""
import glob
import os
import re
import sys

source = sys.argv[1]

# Made in a way that is not one of those: what shows them.
SHOWN = {
    (609, "socket"): "e2e/codes",
}
WAITING = {
    (-12, "compose"): "messages hold no images of our making",
    (-13, "compose"): "messages hold no images of our making",
}
BEGIN, END = "## Which test makes which code\n", "## The table\n"
table = []  # (code, stage)
for line in open(source + "/codes/codes.def", encoding="utf-8"):
    m = re.match(r'CODE\(\s*(-?\d+),\s*\w+,\s*"[^"]*",\s*"([^"]*)"', line)
    if m:
        table.append((int(m[1]), m[2]))
assert len(table) > 90


def wanted(code):
    return (421 <= code <= 559 or 601 <= code <= 687 or 700 <= code <= 801
            or -13 <= code <= -3 or code in (-20, -21, 250))


def line_of(code, step):
    """The table's line for a result at a step, as codes_find finds it."""
    for stage in (step, "reply-end" if step in ("wait-end", "END") else None, "reply"):
        if (code, stage) in table:
            return (code, stage)
    same = [t for t in table if t[0] == code]
    return same[0] if len(same) == 1 else None


made = {}


def add(code, step, test):
    line = line_of(code, step)
    if line:
        made.setdefault(line, []).append(test)


def read(pattern, take):
    files = sorted(glob.glob(source + "/tests/" + pattern))
    assert files, pattern
    for path in files:
        name = os.path.relpath(path, source + "/tests").rsplit(".", 1)[0]
        for line in open(path, encoding="utf-8", errors="replace"):
            take(name, line)


def scenario(name, line):
    words = line.split()
    if line.startswith("= "):
        add(int(words[3]), words[2], name)
    elif line.startswith("epilogue "):
        add(int(words[2]), words[1], name)


def transcript(name, line):
    words = line.split()
    if line.startswith("= ") and len(words) > 3:
        words = words[2:]
    elif line.startswith(("fate ", "epilogue ")) and len(words) > 2:
        words = words[1:]
    else:
        return
    if words[1].isdigit():
        step = {"GARBAGE": "protocol", "TLS": "session"}.get(words[0], words[0])
        add(int(words[1]), step, name)


def script(name, line):
    m = re.match(r"made (-?\d+) (\S+)", line)
    if m:
        add(int(m[1]), m[2], name)
    for code in re.findall(r"hikyaku: (-\d+) LE", line):
        add(int(code), "", name)


read("scenarios/*.txt", scenario)
read("scenarios/*/*.txt", scenario)
read("transcripts/*.txt", transcript)
read("e2e/*.sh", script)
for line, test in SHOWN.items():
    assert glob.glob(f"{source}/tests/{test}.*"), test
    made.setdefault(line, []).append(test)


def rank(name):
    """A real fault from outside says more than a transcript."""
    return (not name.startswith("scenarios"), not name.startswith("e2e"), name)


def section(lines):
    out = [BEGIN, """
Each is made by a fault, and the test looks for it in the result. `scenarios/` are servers that
do it over a real connection (docs/scenarios.md), `scenarios/netns/` lose segments between two
network namespaces, `e2e/` are whole jobs, `transcripts/` dialogues without a network
(docs/session.md). A test fails when a code of sending has no test, and when this list is stale.

| Result | Stage | Tests |
|---:|---|---|
"""]
    for t in lines:
        tests = sorted(set(made.get(t, [])), key=rank)
        more = f" and {len(tests) - 3} more" if len(tests) > 3 else ""
        words = ", ".join(tests[:3]) + more if tests else f"none: {WAITING.get(t, 'MISSING')}"
        out.append(f"| {t[0]} | {t[1]} | {words} |\n")
    return "".join(out) + "\n"


lines = [t for t in table if wanted(t[0])]
bad = [f"no test makes {t[0]} {t[1]}" for t in lines if t not in made and t not in WAITING]
bad += [f"{t[0]} {t[1]} is made by {made[t][0]}: take it off WAITING" for t in WAITING if t in made]
path = source + "/docs/codes.md"
page = open(path, encoding="utf-8").read()
end = page.index(END)
begin = page.index(BEGIN) if BEGIN in page else end
new = page[:begin] + section(lines) + page[end:]
if "--write" in sys.argv:
    open(path, "w", encoding="utf-8").write(new)
elif new != page:
    bad.append("docs/codes.md is stale: python3 tests/codes/produced.py . --write")
print("\n".join(bad) or f"{len(lines)} lines of the code table, {len(WAITING)} of them waiting for their room")
sys.exit(1 if bad else 0)
