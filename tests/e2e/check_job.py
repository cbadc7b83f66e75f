"""Is a job's story true? Usage: check_job.py JOB-DIR RESULTS.tsv SUM-LINE RECORD|- [pending] [shared]

Reads attempts.tsv by itself (the CRC-32C too), folds it, and compares with `hikyaku results`,
with the sum line, and with the receiver's own record, row by row. Rows may be pending only
when an argument says so; with "shared" several may have one message. Prints counts; any lie
is an AssertionError.
"""
import array
import collections
import re
import sys

job, results_path, sum_line, record_path = sys.argv[1:5]
pending_allowed, shared = "pending" in sys.argv[5:], "shared" in sys.argv[5:]

COLUMNS = ("time row email attempt code class stage outcome next_attempt last_code domain site "
           "mx_host mx_address source tls flags message_id timings status message crc").split()
RESULTS = ("row email code class message outcome stage status last_code attempts first_attempt "
           "last_attempt next_attempt domain mx_host mx_address source tls flags "
           "message_id").split()
FINAL = ("delivered", "error", "absent")
DECISIONS = ("606", "607")  # a second line behind the attempt that they end

# CRC-32C (Castagnoli), two bytes a step.
BYTE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    BYTE.append(n)
WORD = array.array("I", (BYTE[t & 255] ^ t >> 8 for w in range(65536)
                         for t in [BYTE[w & 255] ^ w >> 8]))


def crc32c(data):
    crc, table = 0xFFFFFFFF, WORD
    for w in memoryview(data[: len(data) & ~1]).cast("H"):
        crc = table[(crc ^ w) & 0xFFFF] ^ crc >> 16
    if len(data) & 1:
        crc = BYTE[(crc ^ data[-1]) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283

# The log: each line whole, and the lines of a row a story without gaps.
raw = open(job + "/attempts.tsv", "rb").read()
assert raw.endswith(b"\n"), "the log ends within a line"
lines = raw[:-1].split(b"\n")
assert lines[0] == b"#hikyaku-attempts 1", lines[0]
assert lines[1].decode().split("\t") == COLUMNS, lines[1]
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
last, tries, ids, doubted, lent = {}, collections.Counter(), {}, set(), set()
events = leases = 0
cancelled = False  # all that has no result of its own is -11
for line in lines[2:]:
    assert not CONTROL.search(line), line
    assert crc32c(line[: line.rindex(b"\t")]) == int(line[-8:], 16), line
    f = dict(zip(COLUMNS, line.decode("utf-8").split("\t"), strict=True))
    row = int(f["row"])
    if row == 0:
        assert f["outcome"] in ("event", "lease") and f["email"] == "", line
        if f["outcome"] == "lease":  # "1,6-9": these rows are a connection's now
            leases += 1
            for part in f["message"].split(","):
                low, _, high = part.partition("-")
                lent.update(range(int(low), int(high or low) + 1))
        else:
            events += 1
            if f["code"] == "-11":
                cancelled = True
            elif f["message"] == "cancelled rows are pending again":
                cancelled = False
        continue
    assert f["outcome"] in FINAL + ("retry",), line
    before = last.get(row)
    assert not before or before["outcome"] == "retry", ("goes on after its end", line)
    attempt = int(f["attempt"] or 0)
    if f["code"] in DECISIONS:
        assert attempt == tries[row], line
        if f["message"] != "the job's time is over (--until)":  # of rows that wait, or never began
            assert before and f["last_code"] == before["code"], line
            assert before["next_attempt"] == "", ("ended, and yet to come", line)
    else:
        tries[row] += attempt > 0
        assert attempt == tries[row], ("attempts have a gap", line)
    assert not f["next_attempt"] or f["outcome"] == "retry" and f["next_attempt"] > f["time"], line
    if f["message_id"]:
        assert ids.setdefault(row, f["message_id"]) == f["message_id"], line
    if "body=" in f["timings"]:  # something of its message left: the log knew before
        assert row in lent, ("sent without a lease", line)
        lent.remove(row)
    if "in-doubt" in f["flags"]:
        doubted.add(row)
    last[row] = f
assert shared or len(set(ids.values())) == len(ids), "a Message-ID of two rows"

# The results: one for every row of the list, and what the log says.
text = open(results_path, encoding="utf-8", newline="").read()
assert text.endswith("\n")
table = [l.split("\t") for l in text[:-1].split("\n")]
assert table[0] == RESULTS, table[0]
results = [dict(zip(RESULTS, l, strict=True)) for l in table[1:]]
count = collections.Counter()
for i, r in enumerate(results):
    row = int(r["row"])
    assert row == i + int(results[0]["row"]), ("out of order", r)
    f = last.get(row)
    count[r["outcome"]] += 1
    count["in-doubt"] += "in-doubt" in r["flags"]
    count["assumed"] += "assumed" in r["flags"]
    assert ("in-doubt" in r["flags"]) == (row in doubted), r
    assert int(r["attempts"]) == tries[row], r
    assert r["message_id"] == (f["message_id"] if f else ""), r
    if cancelled and (not f or f["outcome"] == "retry"):
        assert (r["outcome"], r["code"], r["class"]) == ("error", "-11", "LE"), r
        assert r["last_code"] == (f["code"] if f else "") and not r["next_attempt"], r
        assert not f or r["email"] == f["email"], r
        continue
    if r["outcome"] == "pending":
        assert pending_allowed and (not f or f["outcome"] == "retry" and f["next_attempt"]), r
    else:
        assert r["outcome"] == f["outcome"] and r["outcome"] in FINAL, (r, f)
        assert r["code"] and r["class"], r
    for key in ("email", "code", "class", "stage", "status", "message") if f else ():
        assert r[key] == f[key], (key, r, f)
    assert (r["class"] == "-") == (r["outcome"] == "delivered"), r
    assert r["outcome"] != "delivered" or r["code"] == "250", r
assert set(last) <= {int(r["row"]) for r in results}, "a line of a row that is none"

# The sum line adds up, and is the same sum.
m = re.fullmatch(r"rows (\d+) = delivered (\d+) \+ error (\d+) \+ absent (\d+) \+ pending (\d+) "
                 r"\(in-doubt (\d+), assumed (\d+)\)", sum_line)
assert m, sum_line
said = [int(n) for n in m.groups()]
assert said[0] == sum(said[1:5]), sum_line
counted = [len(results)] + [count[k] for k in FINAL + ("pending", "in-doubt", "assumed")]
assert said == counted, (sum_line, counted)

# The receiver's record: each delivered row once, with its Message-ID, and no other row. Only a
# row whose mail may have arrived unknown to us can be there without a 250, or twice.
if record_path != "-":
    record = open(record_path, encoding="utf-8", newline="").read().split("\n")
    assert record.pop() == ""
    accepted = collections.Counter()
    for line in record:
        time_ms, rcpt, sender, message_id, size, peer, helo = line.split("\t")
        assert message_id[0] + message_id[-1] == "<>", line
        accepted[rcpt.replace("\\\\", "\\"), message_id[1:-1]] += 1
    meant = {(r["email"], r["message_id"]): r for r in results if r["message_id"]}
    for key, times in accepted.items():
        r = meant.get(key)
        assert r, ("accepted, but of no row", key)
        doubt = int(r["row"]) in doubted
        assert doubt or r["outcome"] == "delivered", ("accepted, but not delivered", r)
        assert times == 1 or doubt, ("accepted %d times" % times, r)
    for key, r in meant.items():
        assert r["outcome"] != "delivered" or key in accepted, ("delivered to nobody", r)
    assert count["delivered"] == len(
        [r for r in results if (r["email"], r["message_id"]) in accepted
         and r["outcome"] == "delivered"])

print(f"{len(results)} rows, {len(lines) - 2} lines ({leases} leases, {events} events), "
      f"{sum(tries.values())} attempts: {sum_line}")
