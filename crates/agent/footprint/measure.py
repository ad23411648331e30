#!/usr/bin/env python3
"""Says what two linked programs differ by, how much stack one of them took, and where it could still panic.

    measure.py SMALL PLAIN FIGURES AUDIT FLASH_LIMIT_KIB RAM_LIMIT_KIB

SMALL and PLAIN are folders with the programs `empty` and `agent`, built with and without the flags that make them small: where
the linker has shortened calls, what calls what can no longer be read. FIGURES is what the agent's program printed when it
ran; AUDIT is docs/decisions/no-panic.md, whose table accounts for every call that could panic.
Reads ELF through binutils' nm and readelf, which know any machine's.
"""
import bisect
import collections
import re
import subprocess
import sys

# What a chip keeps in flash of a program. `.eh_frame` is left out: no firmware unwinds.
FLASH_SECTIONS = (".text", ".rodata", ".srodata", ".sdata", ".data")
RAM_SECTIONS = (".data", ".sdata", ".bss", ".sbss")
SHOWN = 16
# What lies in the chip's ROM, and is linked from there by esp-hal: the addresses stand in esp-rom-sys'
# `ld/*/rom/additional.ld` (`memcpy = 0x40000358;` on the ESP32-C3).
ROM = re.compile(r"^(compiler_builtins::mem::)?(memcpy|memset|memmove|memcmp)$")
# The calls into the agent: the firmware's event loop, of which this program has one only because nobody else calls it.
# Making the agent is not among them, though the compiler puts it there.
SHIM = re.compile(r"^agent::agent_(?!new$)\w+$")

# The functions of core that end in a panic, by what they are called in every version of it so far.
PANIC = re.compile(
    r"^core::panicking::|slice_index_fail|slice_(start|end)_index|slice_error_fail|(expect|unwrap)_failed"
    r"|len_mismatch_fail|^core::cell::panic_|rust_begin_unwind|^core::alloc::"
)
# What core and the linker fold together of several callers' checks: it is these callers that the audit is about.
PASSED_ON = re.compile(
    r"SliceIndex<.*>>::index(_mut)?$|^core::array::<impl core::ops::index::Index|^core::slice::copy_from_slice_impl$"
    r"|^<str>::split_at$|::split_at(_mut)?$|^OUTLINED_FUNCTION_"
)
CALLS = "CALL|CALL_PLT|JAL|RVC_JUMP|BRANCH|RVC_BRANCH"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def sections(elf):
    found = collections.Counter()
    for line in run("readelf", "-SW", elf):
        match = re.match(r"\s*\[ *\d+\] (\.\S+)\s+\S+\s+[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)", line)
        if match:
            # `.rodata.str` and the like count with what they begin with.
            name = "." + match[1].split(".")[1]
            found[name] += int(match[2], 16)
    return found


def added(folder):
    """What the agent adds to the empty program."""
    before, after = sections(f"{folder}/empty"), sections(f"{folder}/agent")
    return {name: after[name] - before[name] for name in sorted(set(FLASH_SECTIONS + RAM_SECTIONS))}


def flash_of(by_section):
    return sum(by_section[name] for name in FLASH_SECTIONS)


def symbols(elf):
    found = []
    for line in run("nm", "-S", "-C", elf):
        match = re.match(r"([0-9a-f]{8}) ([0-9a-f]{8}) (\w) (.*)", line)
        if match:
            found.append((int(match[1], 16), int(match[2], 16), match[3], match[4]))
    return sorted(found)


def size_of(table, pattern):
    """Of all functions of such names; two names of one place count once."""
    return sum({at: size for at, size, kind, name in table if kind in "tTwW" and pattern.search(name)}.values())


def panics(elf, table):
    """Every call from a function that does not itself panic into one that does."""
    starts = [at for at, *_ in table]

    def at(address):
        index = bisect.bisect_right(starts, address) - 1
        return table[index][3] if index >= 0 and address <= table[index][0] + table[index][1] else "?"

    calls = collections.Counter()
    for line in run("readelf", "-rW", elf):
        match = re.match(rf"([0-9a-f]{{8}})\s+\S+\s+R_RISCV_(?:{CALLS})\s+([0-9a-f]{{8}})", line)
        if match:
            caller, callee = at(int(match[1], 16)), at(int(match[2], 16))
            if caller != callee:
                calls[caller, callee] += 1
    if len(calls) < 100:
        sys.exit("no-std: the program was linked without its relocations; the panics in it cannot be counted")
    panicking = {name for call in calls for name in call if PANIC.search(name)}
    while True:
        more = {of for of, to in calls if to in panicking and PASSED_ON.search(of)} - panicking
        if not more:
            break
        panicking |= more
    return {(of, to): count for (of, to), count in calls.items() if to in panicking and of not in panicking}


def audited(path):
    """Rows `| calls | `function` | … |`."""
    with open(path, encoding="utf-8") as page:
        rows = re.findall(r"^\| (\d+) \| `([^`]+)` \|", page.read(), re.MULTILINE)
    return {function: int(calls) for calls, function in rows}


def main():
    small, plain, figures, audit = sys.argv[1:5]
    flash_limit, ram_limit = (int(kib) * 1024 for kib in sys.argv[5:])
    figures = dict(line.split() for line in open(figures, encoding="utf-8") if not line.startswith("# "))
    table, by_section = symbols(f"{small}/agent"), added(small)
    agent_bytes = int(figures["ram.agent"])
    # The driver's own variables lie among the statics, and so does the agent, which has a line of its own.
    driver_bytes = int(figures["ram.driver"])
    linked, rom, shims = flash_of(by_section), size_of(table, ROM), size_of(table, SHIM)
    flash = linked - rom - shims
    plain_table = symbols(f"{plain}/agent")
    plain_flash = flash_of(added(plain)) - size_of(plain_table, ROM) - size_of(plain_table, SHIM)
    statics = max(0, sum(by_section[name] for name in RAM_SECTIONS) - driver_bytes - agent_bytes)
    stack = max(int(value) for name, value in figures.items() if name.startswith("stack."))
    ram = agent_bytes + statics + stack

    code = [(size, name) for _, size, kind, name in table if kind in "tT"]
    print("largest functions (bytes):")
    for size, name in sorted(code, reverse=True)[:SHOWN]:
        print(f"  {size:6} {name[:110]}")
    print("sections (bytes, less those of the empty program): " + ", ".join(f"{n} {b}" for n, b in by_section.items() if b))
    print("stack (bytes): " + ", ".join(f"{n[6:]} {v}" for n, v in figures.items() if n.startswith("stack.")))
    print("ran: " + ", ".join(f"{v} {n[5:]}" for n, v in figures.items() if n.startswith("done.")))

    sites, known = panics(f"{plain}/agent", plain_table), audited(audit)
    by_caller = collections.Counter()
    for (caller, _), calls in sites.items():
        by_caller[caller] += calls
    for caller, calls in sorted(by_caller.items()):
        if calls > known.get(caller, 0):
            into = ", ".join(sorted({callee for (of, callee) in sites if of == caller}))
            print(f"not in the audit: {calls - known.get(caller, 0)} of {calls} calls in `{caller}` (into {into})")

    print(f"flash without the flags that make it small (docs/device.md): {plain_flash}")
    failed = False
    for name, value, limit, words in [
        ("flash", flash, flash_limit, f"bytes: {linked} linked, less {rom} of the chip's ROM and {shims} of the caller"),
        ("ram", ram, ram_limit, f"bytes: agent {agent_bytes}, statics {statics}, stack {stack}"),
        ("panics", sum(by_caller.values()), sum(known.values()), "calls that could panic, against those audited"),
    ]:
        over = value > limit
        failed |= over
        ratio = value / limit if limit else float(value > 0)
        print(f"{name:7} {value:6} of {limit:6} = {ratio:.2f} {'TOO MUCH' if over else 'ok':8} {words}")
    sys.exit("no-std: a limit is exceeded" if failed else 0)


main()
