"""Measures what `bench` costs and prints rows of a Markdown table; see measure-costs.sh."""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BENCH = os.path.abspath("target/release/bench")
HEAD = """schema = 1
name = "numbers"

[backends.main]
protocol = "openai-completions"
url = "sim:tiny?jitter=0"
ignore_eos = true
"""
CLASS = """
[workloads.w{n}]
prompts = {{ kind = "synthetic" }}
input_tokens = {{ kind = "fixed", value = {prompt} }}
output_tokens = {{ kind = "fixed", value = {answer} }}

[[traffic]]
name = "c{n}"
backend = "main"
workload = "w{n}"
"""
POISSON = '\n[load]\nkind = "poisson"\nrate_per_s = 1\n'


def run(*args, **more):
    return subprocess.run([BENCH, *args], capture_output=True, text=True, **more)


def seconds(*args, times=1, ok=(0,)):
    """Median wall time of a command."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        done = run(*args)
        taken.append(time.perf_counter() - began)
        if done.returncode not in ok:
            sys.exit(f"{args}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return statistics.median(taken)


def row(name, goal, measured):
    print(f"| {name} | {goal} | {measured} |", flush=True)


def validate(folder):
    text = HEAD + "".join(CLASS.format(n=n, prompt=100, answer=20) for n in range(29)) + POISSON
    lines = text.count("\n")
    path = folder / "large.toml"
    path.write_text(text)
    assert 290 <= lines <= 320, lines
    return lines, seconds("validate", str(path), times=21)


def plan(folder):
    axes = (
        '\n[limits]\npoints = 20000\nminutes = 1e9\n'
        '\n[[sweep]]\naxis = "load.rate_per_s"\nrange = { kind = "linear", from = 1, to = 100, count = 100 }\n'
        '\n[[sweep]]\naxis = "workloads.w0.input_tokens.value"\nrange = { kind = "linear", from = 1, to = 100, count = 100 }\n'
    )
    path = folder / "wide.toml"
    path.write_text(HEAD + CLASS.format(n=0, prompt=100, answer=20) + POISSON + axes)
    (folder / "store").mkdir()
    return seconds("plan", str(path), "--store", str(folder / "store"), times=5)


def apply(folder):
    # The profile decodes a token in about a millisecond: an answer of 950 tokens streams for about a second.
    text = HEAD + CLASS.format(n=0, prompt=16, answer=950)
    text += '\n[load]\nkind = "users"\nusers = 10\n'
    text += '\n[phases]\nwarmup = "0s"\nmeasure = { requests = 20 }\ndrain = { max = "5s" }\n'
    path = folder / "streams.toml"
    path.write_text(text)
    taken = []
    for n in range(3):
        began = time.perf_counter()
        done = run("apply", str(path), "--store", str(folder / f"streams{n}"), "--quiet")
        taken.append(time.perf_counter() - began)
        # Only the time counts here: 101 is a client that was late, on a busy machine.
        if done.returncode not in (0, 101):
            sys.exit(f"exit {done.returncode}\n{done.stdout}{done.stderr}")
    return statistics.median(taken)


def resident_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def million(folder):
    """Resident memory of the client after a tenth of the requests and at the end, in MB."""
    requests = int(os.environ.get("MILLION", "1000000"))
    rate = int(os.environ.get("RATE", "2000"))
    text = HEAD + CLASS.format(n=0, prompt=8, answer=2)
    text += f'\n[load]\nkind = "constant"\nrate_per_s = {rate}\n'
    text += f'\n[phases]\nwarmup = "1s"\nmeasure = {{ requests = {requests} }}\ndrain = {{ max = "10s" }}\n'
    text += "\n[limits]\nrequests = 2000000\nminutes = 600\n"
    path = folder / "million.toml"
    path.write_text(text)
    command = [BENCH, "apply", str(path), "--store", str(folder / "million"), "--quiet"]
    with open(folder / "log", "w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
        samples = []
        while child.poll() is None:
            samples.append(resident_kb(child.pid))
            time.sleep(1)
    if child.returncode not in (0, 99, 101):
        sys.exit(f"exit {child.returncode}\n{(folder / 'log').read_text()}")
    samples = [sample for sample in samples if sample]
    return samples[len(samples) // 10] / 1000, samples[-2] / 1000, max(samples) / 1000


def main():
    long = "--long" in sys.argv
    print("| | goal | measured |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        row("`bench --version`", "≤ 15 ms", f"{seconds('--version', times=41) * 1e3:.1f} ms")
        lines, taken = validate(folder)
        row(f"`bench validate`, {lines} lines", "≤ 10 ms", f"{taken * 1e3:.1f} ms")
        row("`bench plan`, 10,000 points, one store listing", "≤ 2 s", f"{plan(folder):.2f} s")
        row("`bench apply`, 20 streams of one second, 10 at a time", "≤ 2.5 s", f"{apply(folder):.2f} s")
        if long:
            tenth, end, most = million(folder)
            measured = f"{tenth:.0f} MB, {end:.0f} MB (most: {most:.0f} MB)"
            row("1,000,000 requests: resident memory at 10 % and at 100 %", "within 5 %, ≤ 150 MB", measured)
            size = os.path.getsize("target/dist/bench") / 1e6
            row("`dist` binary", "≤ 30 MB", f"{size:.1f} MB")


main()
