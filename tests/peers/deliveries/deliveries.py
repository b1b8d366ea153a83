#!/usr/bin/env python3
"""How large the smallest host of each delivery is, and how long a new process takes to the guest's first line.

deliveries.py [--rounds N] NAME=COMMAND...   each command prints a line; the first one is what others are compared with

run.sh makes the hosts and calls this.

All are started in alternation. The time is from the start of the process to the first byte of its output, the
median of all rounds, and includes what it takes to start any process at all."""

import os
import statistics
import sys
import time


def first_line(command):
    """Seconds from starting the command to its first output."""
    read, write = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_CLOSE, read)]
    start = time.perf_counter()
    child = os.posix_spawn(command[0], command, {}, file_actions=actions)
    os.close(write)
    found = os.read(read, 64)
    taken = time.perf_counter() - start
    os.close(read)
    _, status = os.waitpid(child, 0)
    assert found == b"hello\n" and status == 0, (command, found, status)
    return taken


def main(arguments):
    rounds = 1000
    if arguments[:1] == ["--rounds"]:
        rounds, arguments = int(arguments[1]), arguments[2:]
    commands = [(name, command.split()) for name, command in (a.split("=", 1) for a in arguments)]
    times = {name: [] for name, _ in commands}
    for i in range(rounds):
        # Each comes first as often as the others.
        turn = i % len(commands)
        for name, command in commands[turn:] + commands[:turn]:
            times[name].append(first_line(command))
    base = statistics.median(times[commands[0][0]])
    print(f"{'':<10}{'bytes':>12}{'median µs':>12}{'minimum':>10}{'over the first':>16}")
    for name, command in commands:
        median = statistics.median(times[name])
        low, over = min(times[name]) * 1e6, (median - base) * 1e6
        print(f"{name:<10}{os.path.getsize(command[0]):>12}{median * 1e6:>12.0f}{low:>10.0f}{over:>16.0f}")


main(sys.argv[1:])
