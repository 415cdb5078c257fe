"""The tables, and what makes a sample doubtful."""

import os
import time
from statistics import median

import tools

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
GROUPS = [
    ("rate", "data", "cold", "Sequential reads, cold", "The mount's pages dropped, the model in memory"),
    ("rate", "data", "warm", "Sequential reads, warm", "The mount's pages in memory, read twice before, "
     "or once where the row says so"),
    ("rate", "data", "direct", "Sequential reads, O_DIRECT", "No cache on the mount's side, the model in memory; the "
     "plain file is read without O_DIRECT"),
    ("latency", "data", "cold", "Random reads, cold", "The mount's pages dropped, the model in memory"),
    ("latency", "data", "warm", "Random reads, warm", "The mount's pages in memory"),
    ("rate", "disk", "disk", "From disk, sequential", "Neither the mount's pages nor the model in memory"),
    ("latency", "disk", "disk", "From disk, random", "Neither the mount's pages nor the model in memory. The last "
     "number: bytes read from disk for each byte asked for (2 for 4K: a tensor's pages are not the model's)"),
]


def seconds_per_unit(sample):
    return sample["seconds"] / (sample.get("bytes") or sample.get("count") or 1)


def ratios(bench, row, name):
    """Speed relative to the plain file, round by round."""
    samples = bench.results.get(row.key, {})
    plain = {sample["round"]: sample for sample in samples.get("plain", [])}
    return [seconds_per_unit(plain[sample["round"]]) / seconds_per_unit(sample)
            for sample in samples.get(name, []) if sample["round"] in plain]


def spread(values, form):
    return f"{form(median(values))} ({form(min(values))}–{form(max(values))})"


def ratio_form(value):
    return f"{value:.2f}" if value >= 0.095 else f"{value:.3f}"


def one_line(bench, row):
    """The row's result so far, for the terminal."""
    parts = []
    for name, samples in bench.results.get(row.key, {}).items():
        if row.unit == "rate" and name != "plain":
            found = ratios(bench, row, name)
            parts.append(f"{name} {spread(found, ratio_form) if found else '–'}")
        else:
            parts.append(f"{name} {cell(bench, row, name)}")
    parts += [f"{name}: {why}" for name, why in bench.failures.get(row.key, {}).items()]
    return " | ".join(parts)


def cell(bench, row, name):
    samples = bench.results.get(row.key, {}).get(name)
    why = bench.failures.get(row.key, {}).get(name)
    if not samples:
        return "fails" if why else "–"
    mark = "" if not doubts(row, name, samples) else " †"
    if row.unit == "rate":
        speed = median([sample["bytes"] / sample["seconds"] for sample in samples]) / 1e9
        if name == "plain":
            return f"{speed:.1f} GB/s{mark}"
        found = ratios(bench, row, name)
        return (spread(found, ratio_form) if found else f"{speed:.1f} GB/s") + mark
    if row.unit == "latency":
        text = " / ".join(f"{median([sample[key] for sample in samples]) * 1e6:.1f}" for key in ("p50", "p99"))
        found = ratios(bench, row, name)
        if name != "plain" and found:
            text += f" · {spread(found, ratio_form)}"
        if row.phase == "disk":
            text += f" · {median([read_from_disk(sample) for sample in samples]):.1f}×"
        return text + mark
    if row.unit == "entry":
        first, second = (median([sample[key] / sample["count"] for sample in samples]) * 1e6
                         for key in ("seconds", "second"))
        return f"{first:.2f} / {second:.2f}"
    return spread([sample["seconds"] * 1e3 for sample in samples], lambda value: f"{value:.1f}")


def read_from_disk(sample):
    """Bytes that came into memory from the disk, for each byte asked for."""
    return sample.get("backing_after", sample["bytes_after"]) / sample["bytes"]


def doubts(row, name, samples):
    """Why the samples may measure another cache than the row says; the worst one is judged."""
    found = []
    parts = [sample.get("resident_before", -1) for sample in samples]
    loads = [sample.get("daemon_cpu", 0) / sample["seconds"] for sample in samples]
    if name == "plain":
        if row.phase == "disk" and max(parts) > 0.01:
            found.append(f"{max(parts):.0%} of the file was in memory")
        if row.phase == "data" and min(parts) < 0.99:
            found.append(f"only {min(parts):.0%} of the file was in memory")
        return found
    if row.cache in ("cold", "disk", "direct"):
        if max(parts) > 0.001:
            found.append(f"{max(parts):.1%} of the files was cached before")
        if min(loads) == 0:
            found.append("the daemon did not work")
    if row.cache == "warm":
        if min(parts) < 0.99:
            found.append("nobody knows what was cached" if min(parts) < 0 else f"only {min(parts):.0%} was cached")
        if median(loads) > 0.02:  # the median: a stray message of the kernel's is no harm
            found.append(f"the daemon worked for {median(loads):.0%} of the time")
    return found


def stolen_part(sample):
    """What the hypervisor gave to others, as a part of the time that the sample took."""
    return sample.get("stolen", 0) / sample["seconds"]


def is_disturbed(sample):
    """True if that was a part that counts. Time is taken in ticks of 10 ms, so that one may be chance."""
    return sample.get("stolen", 0) >= 0.02 and stolen_part(sample) >= 0.05


def note_disturbance(bench):
    """How often samples were taken again, and how disturbed those are that were kept."""
    kept = [(sample, f"{key}, {name}") for key, columns in bench.results.items()
            for name, samples in columns.items() for sample in samples]
    again = sum(sample["tries"] - 1 for sample, _ in kept)
    if again:
        part, where = max((stolen_part(sample), where) for sample, where in kept)
        bench.notes.append(f"Samples were taken again {again} times, since the hypervisor gave processor time to others; of the "
                           f"{len(kept)} that count, {sum(is_disturbed(sample) for sample, _ in kept)} were disturbed "
                           f"nevertheless, at most by {part:.0%} of their time ({where})")


def check(bench, wanted):
    """Adds to the notes what the tables mark, and what must not be: sums over maps that differ."""
    note_disturbance(bench)
    for row in wanted:
        results = bench.results.get(row.key, {})
        for name, samples in results.items():
            for doubt in doubts(row, name, samples):
                bench.notes.append(f"† {row.key}, {name}: {doubt}")
        sums = {sample["sum"] for samples in results.values() for sample in samples if "sum" in sample}
        if len(sums) > 1:
            bench.notes.append(f"{row.key}: WRONG BYTES, the sums differ: {sums}")
        for name, why in bench.failures.get(row.key, {}).items():
            bench.notes.append(f"{row.key}, {name}: {why}")


def table(header, lines):
    rule = "|---" * len(header) + "|"
    return "\n".join(["| " + " | ".join(header) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


def tables(bench, wanted):
    """Everything as Markdown."""
    names = [column.name for column in bench.columns]
    wanted = [row for row in wanted if row.key in bench.results or row.key in bench.failures]
    parts = [heading(bench)]
    for unit, phase, cache, title, state in GROUPS:
        chosen = [row for row in wanted if (row.unit, row.phase, row.cache) == (unit, phase, cache)]
        if not chosen:
            continue
        explanation = ("Throughput as a part of the plain file's." if unit == "rate" else
                       "Microseconds, p50 / p99, and the throughput as a part of the plain file's.")
        body = table(["", "plain file", *names],
                     [[row.title, *(cell(bench, row, name) for name in ["plain", *names])] for row in chosen])
        parts.append(f"### {title}\n\n{state}. {explanation}\n\n{body}")
    chosen = [row for row in wanted if row.unit == "entry"]
    if chosen:
        body = table(["", "plain files", *names],
                     [[row.title, *(cell(bench, row, name) for name in ["plain", *names])] for row in chosen])
        parts.append(f"### {bench.options.small:,} small files\n\nMicroseconds per entry: first pass on a fresh mount / "
                     f"second pass. The plain files' names are in the kernel's cache in both.\n\n{body}")
    chosen = [row for row in wanted if row.unit == "ready"]
    if chosen:
        titles = {"data": "64 tensors", "small": f"{bench.options.small:,} tensors",
                  "header": "222,000 tensors, a header of 30 MB"}
        others = [*names, "safe_open + keys"]
        body = table(["", *others],
                     [[titles[row.title], *(cell(bench, row, name) for name in others)] for row in chosen])
        parts.append("### Until the mount is ready\n\nMilliseconds from the start of the command until a tensor answers "
                     f"stat, the model in memory; for Python, of `safe_open` and `keys` alone.\n\n{body}")
    parts += [part for part in (cpu_table(bench, wanted, names), memory_table(bench)) if part]
    if bench.notes:
        parts.append("### Notes\n\n" + "\n".join("- " + note for note in bench.notes))
    return "\n\n".join(parts) + "\n"


def heading(bench):
    hardware, software = tools.machine(bench)
    lines = [f"{hardware}. {software}. {time.strftime('%Y-%m-%d', time.gmtime())}.", ""]
    lines.append(f"A model of {bench.options.size >> 20} MiB; {bench.options.rounds} interleaved rounds; median, and in "
                 "parentheses the least and the most of the rounds."
                 + (f" The model was {bench.kept} in memory." if bench.kept else ""))
    if bench.read_ahead:
        lines[-1] += " Read-ahead: " + ", ".join(
            f"{name} {value} KiB ({who})" for name, (value, who) in bench.read_ahead.items()) + "."
    lines[-1] += (" Two threads that wake each other took "
                  + ", then ".join(f"{seconds * 1e6:.0f}" for seconds in bench.wakes) + " µs for there and back")
    poll = tools.halt_poll()
    lines[-1] += f", with guest_halt_poll_ns={poll}." if poll else "."
    for column in bench.columns:
        if column.is_ours and column.options:
            lines[-1] += f" {column.name}: `-o {column.options}`."
    return "\n".join(lines)


def cpu_table(bench, wanted, names):
    """CPU seconds per GiB of the rows that read everything with our own reader."""
    lines = []
    for row in wanted:
        if row.unit != "rate" or not row.key.startswith(("seq/", "disk/seq", "dd/", "mmap/")):
            continue
        cells = []
        for name in ["plain", *names]:
            samples = bench.results.get(row.key, {}).get(name)
            if not samples:
                cells.append("–")
                continue
            daemon, own = (median([sample[key] / sample["bytes"] * (1 << 30) for sample in samples])
                           for key in ("daemon_cpu", "reader_cpu"))
            cells.append(f"{own:.2f}" if name == "plain" else f"{daemon:.2f} + {own:.2f}")
        lines.append([f"{row.title}, {row.cache}", *cells])
    if not lines:
        return ""
    return ("### CPU\n\nSeconds per GiB, daemon + reader.\n\n" + table(["", "plain file", *names], lines))


def memory_table(bench):
    lines = []
    for when, mounts in bench.memory.items():
        for name, memory in mounts.items():
            lines.append([when, name, *(f"{memory.get(key, 0) / (1 << 20):.1f}"
                                        for key in ("RssAnon", "RssFile", "RssShmem", "VmRSS"))])
    if not lines:
        return ""
    return ("### Memory of the daemon\n\nMiB. Pages of the model that the daemon has mapped count as RssFile; they are "
            "page cache, which the kernel takes back when it needs memory.\n\n"
            + table(["", "", "RssAnon", "RssFile", "RssShmem", "all"], lines))


def document(bench):
    """Everything, for --json."""
    hardware, software = tools.machine(bench)
    return {"machine": hardware, "software": software, "size": bench.options.size, "small": bench.options.small,
            "read_ahead": bench.read_ahead, "memory": bench.memory, "rows": bench.results,
            "failures": bench.failures, "notes": bench.notes}


def insert(text, path):
    """Replaces what is between the markers; the prose around them is left alone."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        old = f"# Results of {time.strftime('%Y-%m-%d')}\n\n{BEGIN}\n{END}\n"
    else:
        with open(path) as file:
            old = file.read()
    begin, end = old.find(BEGIN), old.find(END)
    if begin < 0 or end < begin:
        old, begin, end = old + f"\n{BEGIN}\n{END}\n", len(old) + 1, len(old) + len(BEGIN) + 2
    with open(path, "w") as file:
        file.write(f"{old[:begin]}{BEGIN}\n\n{text}\n{old[end:]}")
